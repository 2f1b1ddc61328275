"""Which web pages may open a stream: a WebSocket is not guarded by CORS, so the server has to look (fault X16)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from tuspy_server.web.cors import Cors


@dataclass(frozen=True, slots=True)
class Origins:
    """Those of CORS, and the server's own.

    Attributes:
        any_counts: whether `*` of CORS lets in pages of any origin. Not where a request needs nothing but to come from
            inside: a page of a stranger's, opened by somebody inside, would read everything.
    """

    cors: Cors
    public_url: str | None
    any_counts: bool = True

    def allow(self, scope: Scope) -> bool:
        """Whether the request comes from no page at all, from one of an allowed origin, or from one of this server."""
        origin, host = header(scope, b"origin"), header(scope, b"host")
        if origin is None or (self.any_counts and "*" in self.cors.origins) or origin in self.cors.origins:
            return True
        own = {host, urlsplit(self.public_url).netloc if self.public_url else None}
        try:
            return urlsplit(origin).netloc in own - {None, ""}
        except ValueError:
            return False


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header; None where it is absent."""
    for known, value in scope["headers"]:
        if known.lower() == name:  # servers of WebSockets may leave names as they were sent
            text: str = value.decode("latin-1")
            return text
    return None
