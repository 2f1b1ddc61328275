"""Requests and responses as cases and reports see them, and the errors for what is no response."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

Fields = Sequence[tuple[str, str]]
"""Header fields in the order in which they go out; a name may occur twice."""

SHOWN_BYTES = 2048
"""Most bytes of one head that a report shows."""


class WireError(Exception):
    """No complete response could be read from the server."""


class Closed(WireError):
    """The server ended the connection before its response was complete."""


class Malformed(WireError):
    """The server's bytes are no HTTP/1.1 response."""


class Silence(WireError):
    """The server sent nothing until the deadline."""


class Origin(NamedTuple):
    """Where a connection goes."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Take scheme, host and port from an absolute http or https URL."""
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def request_target(url: str) -> str:
    """Return path and query of an absolute URL as written: dots and escapes stay."""
    rest = url.split("://", 1)[1]
    start = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
    target = rest[start:].split("#", 1)[0]
    return target if target.startswith("/") else "/" + target


@dataclass
class Exchange:
    """One request and what came back, as text for the report."""

    request: str
    events: list[str] = field(default_factory=list)
    response: str = ""


@dataclass(frozen=True)
class Response:
    """One parsed response; header names are lower case, values are latin-1 text without surrounding whitespace."""

    status: int
    fields: Fields
    exchange: Exchange
    body: bytes = b""
    interim: tuple["Response", ...] = ()
    keeps_alive: bool = False

    def values(self, name: str) -> list[str]:
        """Return the value of each line of this name."""
        return [value for known, value in self.fields if known == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the lines of this name joined by a comma, None if there is none (RFC 9110 5.2)."""
        values = self.values(name)
        return ", ".join(values) if values else None

    def members(self, name: str) -> list[str]:
        """Return the members of a comma-separated list; empty members are kept."""
        value = self.get(name)
        return [] if value is None else [member.strip() for member in value.split(",")]


def chunk(data: bytes) -> bytes:
    """Return one chunk of the chunked transfer coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def last_chunk(trailers: Fields = ()) -> bytes:
    """Return the end of a chunked body."""
    section = "".join(f"{name}: {value}\r\n" for name, value in trailers)
    return b"0\r\n" + section.encode("latin-1") + b"\r\n"
