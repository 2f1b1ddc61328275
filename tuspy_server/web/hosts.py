"""Names by which this server may be asked where nobody has to say who they are.

A page of anybody's can have its own name point to this machine (DNS rebinding). The browser then takes the server for
that page's own, so that neither CORS nor the check of Origin helps; but it says the name in `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

ANY: Final = "*"
CLOSED: Final = (".localhost", ".local", ".internal", ".test")
"""Ends of names that nobody can have in the public DNS (RFC 6761, RFC 6762)."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Those that somebody has listed, and those that no stranger can have: addresses, names without a dot, such as
    `localhost`, and those of `CLOSED`."""

    names: Collection[str] = (ANY,)

    @classmethod
    def of(cls, names: Collection[str], public_url: str | None) -> Hosts:
        """`names` without ports, or `*` for any; that of `public_url` is one of them."""
        own = urlsplit(public_url).hostname if public_url else None
        return cls(frozenset(name.lower() for name in (*names, own) if name))

    def allow(self, host: str | None) -> bool:
        """Whether a request with this `Host` is meant for this server. All browsers send one."""
        if host is None or ANY in self.names:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return "." not in name or name.endswith(CLOSED) or name in self.names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
