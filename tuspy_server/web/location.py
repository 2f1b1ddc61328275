"""Where an upload is, as its client sees it: `Location` behind mounts, prefixes and proxies.

It is absolute where the origin is known for certain (a setting, a trusted proxy's word, or the very address that the
client has connected to) and path-absolute otherwise: a `Host` header or an untrusted `X-Forwarded-Host` must not decide
where a client sends its bytes (fault X17).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from starlette.types import Scope

from tuspy_server.protocol.fields import RequestHead

_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PROXY_FIELDS: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True)
class Locations:
    """Makes `Location` values.

    Attributes:
        public_url: origin that clients see; None where it is not set.
        trusted_proxies: addresses or networks whose forwarding headers are believed.
    """

    public_url: str | None
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    @classmethod
    def from_settings(cls, public_url: str | None, trusted_proxies: tuple[str, ...]) -> Locations:
        """Read the settings of these names, which have been checked."""
        return cls(public_url, tuple(ipaddress.ip_network(proxy, strict=False) for proxy in trusted_proxies))

    def location(self, scope: Scope, head: RequestHead, upload_id: str) -> str:
        """The URL of an upload, for the client that sent this request."""
        prefix, origin = "", self.public_url or ""
        if self._from_trusted_proxy(scope):
            prefix = _last(head, "x-forwarded-prefix", _PREFIX).rstrip("/")
            origin = origin or _forwarded_origin(scope, head)
        origin = origin or _own_origin(scope, head)
        mount = scope.get("root_path", "").rstrip("/")
        return f"{origin}{prefix}{quote(mount)}/{upload_id}"

    def _from_trusted_proxy(self, scope: Scope) -> bool:
        client = scope.get("client")
        if not self.trusted_proxies or not client:
            return False
        try:
            address = ipaddress.ip_address(client[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.trusted_proxies)


def _own_origin(scope: Scope, head: RequestHead) -> str:
    """`http://address:port` where the client names the address that it has connected to, and no proxy shows; otherwise
    empty. Some clients cannot resolve a path (aiotus 1.1), and this is how they are tried out first."""
    server = scope.get("server")
    if not server or server[1] is None or any(name in head.fields for name in _PROXY_FIELDS):
        return ""
    host = (head.one("host") or "").lower()
    scheme = scope.get("scheme", "http")
    return f"{scheme}://{host}" if host in _own_hosts(server[0], server[1], scheme) else ""


@lru_cache(maxsize=64)
def _own_hosts(server_address: str, port: int, scheme: str) -> frozenset[str]:
    """Every `Host` that names this very address."""
    try:
        address = ipaddress.ip_address(server_address)
    except ValueError:
        return frozenset()
    names = {f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)}
    if address.is_loopback:
        names.add("localhost")
    own = {f"{name}:{port}" for name in names}
    if port == {"http": 80, "https": 443}.get(scheme):
        own |= names
    return frozenset(own)


def _forwarded_origin(scope: Scope, head: RequestHead) -> str:
    """`https://host` from `Forwarded` (RFC 7239) or `X-Forwarded-*`; empty without a host."""
    pairs = (pair.partition("=") for pair in _last_element(head, "forwarded").split(";"))
    forwarded = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
    # Most proxies set X-Forwarded-* and let a Forwarded that the client made up through: theirs counts.
    host = _last_element(head, "x-forwarded-host") or forwarded.get("host", "")
    proto = (_last_element(head, "x-forwarded-proto") or forwarded.get("proto", "")).lower()
    if not _HOST.fullmatch(host):
        return ""
    return f"{proto if proto in ('http', 'https') else scope.get('scheme', 'http')}://{host}"


def _last_element(head: RequestHead, name: str) -> str:
    """The element that the nearest proxy has added, which is the one that is trusted."""
    return ",".join(head.fields.get(name, ())).rpartition(",")[2].strip()


def _last(head: RequestHead, name: str, pattern: re.Pattern[str]) -> str:
    value = _last_element(head, name)
    return value if pattern.fullmatch(value) else ""
