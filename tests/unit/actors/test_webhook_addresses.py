"""Where a webhook may not lead to."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import pytest

from actors.webhooks.addresses import AddressRefusedError, is_allowed, socket_maker


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "::",
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "::ffff:127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:42::42",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_refused(address: str) -> None:
    """This machine itself, its links, groups and the metadata services of clouds are refused, however written."""
    assert not is_allowed(address, ())


@pytest.mark.parametrize(
    "address", ["10.0.0.7", "192.168.204.2", "172.16.0.1", "93.184.216.34", "fd12::1", "2001:4860::1"]
)
def test_allowed(address: str) -> None:
    """Private and public addresses are allowed, for there the receivers are."""
    assert is_allowed(address, ())


def test_by_setting() -> None:
    """An operator may allow networks, and these only."""
    allowed = (ip_network("127.0.0.0/30"), ip_network("::1/128"))

    assert [True, True, True, False] == [
        is_allowed(address, allowed) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.2", "127.0.0.9")
    ]


def test_no_socket_for_a_refused_address() -> None:
    """A refused address gets no socket: whatever its name resolved to is judged, not the name."""
    make = socket_maker(())
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")

    with pytest.raises(AddressRefusedError):
        make((*entry, ("127.0.0.1", 80)))
    make((*entry, ("10.0.0.7", 80))).close()
