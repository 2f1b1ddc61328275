"""How a process reaches its PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """All durations in seconds.

    Attributes:
        url: `postgresql://…`; its search path says which schema the rows are in.
        listen_url: of the same database for the one connection that listens, where `url` leads to a pooler.
        listens: False where there is no way to listen: what other nodes tell is then found by polls.
        connections: most of them at once, beside the one that listens.
        call_seconds: deadline of one call, the wait for a free connection included.
        connect_seconds: deadline of one new connection.
        prepared: False where a pooler hands statements of one connection to several servers.
        node_seconds: a node whose heart has not beaten for so long has stopped.
        settled_seconds: after which no storage call that was under way when an upload ended can land any more.
    """

    url: str = field(repr=False)
    listen_url: str | None = field(default=None, repr=False)
    listens: bool = True
    connections: int = 5
    call_seconds: float = 10.0
    connect_seconds: float = 5.0
    prepared: bool = True
    node_seconds: float = 10.0
    settled_seconds: float = 900.0

    @property
    def where(self) -> str:
        """Host and port, without anything secret."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ["the default host"]))
