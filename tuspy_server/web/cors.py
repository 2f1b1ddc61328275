"""CORS: what browsers need to upload from another origin, on errors too, or they hide the status from the client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tuspy_server.protocol.core import ALL_METHODS
from tuspy_server.protocol.errors import Headers
from tuspy_server.web.answers import RawHeaders, encode

ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Origin",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
)
EXPOSED_HEADERS: Final = (
    "Content-Disposition",
    "ETag",
    "Location",
    "Next-Before",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-Request-ID",
)
PREFLIGHT_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Cors:
    """Which origins may use the server from a browser. No origins: no CORS headers at all, for hosts with their own."""

    origins: tuple[str, ...]
    credentials: bool

    def raw_headers(self, origin: str | None, *, preflight: bool) -> RawHeaders:
        """`headers` as ASGI wants them; made once for those that ask often."""
        return _raw_headers(self, origin, preflight)

    def headers(self, origin: str | None, *, preflight: bool) -> Headers:
        """Headers for an answer to a request from `origin`; nothing where there is none, or it is not allowed."""
        if not self.origins:
            return ()
        vary = () if "*" in self.origins else (("Vary", "Origin"),)
        if origin is None or not ("*" in self.origins or origin in self.origins):
            return vary
        allowed_origin = "*" if "*" in self.origins else origin
        headers = [*vary, ("Access-Control-Allow-Origin", allowed_origin)]
        if self.credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        if preflight:
            headers += [
                ("Access-Control-Allow-Methods", ", ".join(ALL_METHODS)),
                ("Access-Control-Allow-Headers", ", ".join(ALLOWED_HEADERS)),
                ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
            ]
        headers.append(("Access-Control-Expose-Headers", ", ".join(EXPOSED_HEADERS)))
        return tuple(headers)


@lru_cache(maxsize=64)  # origins are what clients say: they must not fill the memory
def _raw_headers(cors: Cors, origin: str | None, preflight: bool) -> RawHeaders:
    return tuple(encode(cors.headers(origin, preflight=preflight)))
