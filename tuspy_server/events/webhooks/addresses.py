"""Which addresses a webhook may be sent to: those of the public internet (faults X11, X12)."""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_CLOSED_4: Final = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
]
_OPEN_6: Final = ipaddress.IPv6Network("2000::/3")
"""All else is loopback, mapped, translated (NAT64), unique-local, link-local, multicast, or nobody's yet."""

_CLOSED_6: Final = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]


def is_public(address: Address) -> bool:
    """Whether it is one of the public internet, by the registries of special-purpose addresses (RFC 6890).

    Clouds give some public addresses a meaning of their own inside their networks; those are theirs to close.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_4)
    return address in _OPEN_6 and address.scope_id is None and not any(address in network for network in _CLOSED_6)


def is_public_host(host: str) -> bool:
    """Whether nothing speaks against a host before it is resolved."""
    if host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost"):
        return False
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        return True  # a name, or an address in a spelling that the resolver reads (X11: decimal): checked when called
