"""Which addresses a webhook may go to."""

from __future__ import annotations

import ipaddress

import pytest

from tuspy_server.events.webhooks.addresses import is_public, is_public_host

CLOSED = [
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.127.255.255", "100.100.100.200"),
    *("192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1"),
]
OPEN = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.128.0.1", "223.255.255.255"]
OPEN_6 = ["2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("address", CLOSED)
def test_addresses_that_are_not_public_are_closed(address: str) -> None:
    """X11."""
    assert not is_public(ipaddress.ip_address(address))
    assert not is_public_host(address)


@pytest.mark.parametrize("address", [*OPEN, *OPEN_6])
def test_public_addresses_are_open(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    assert is_public_host(address)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "app.localhost"])
def test_names_of_this_machine_are_closed(host: str) -> None:
    assert not is_public_host(host)
