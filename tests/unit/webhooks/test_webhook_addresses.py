"""Where a webhook may not lead to."""

from __future__ import annotations

import socket
import subprocess
import sys
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import PATIENCE_S
from webhooks.addresses import AddressNotAllowedError, is_allowed, socket_factory


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "0.0.0.1",
        "2001:0:1:1:0:0:80ff:fffe",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::7f00:1",
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


def own_addresses() -> list[str]:
    """Return the addresses of all interfaces of this machine."""
    return [
        one.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family in {socket.AF_INET, socket.AF_INET6}
    ]


def spellings(text: str) -> list[str]:
    """Return an address and the IPv6 addresses that stand for it."""
    address = ip_address(text)
    if not isinstance(address, IPv4Address):
        return [text, address.exploded]
    number = int(address)
    teredo = f"2001:0:505:505:0:0:{(number ^ 0xFFFFFFFF) >> 16:x}:{(number ^ 0xFFFFFFFF) & 0xFFFF:x}"
    return [
        text,
        f"::ffff:{text}",
        f"64:ff9b::{text}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
        f"::{text}",
        f"::ffff:0:{text}",
        teredo,
    ]


@pytest.mark.parametrize("own", own_addresses())
def test_this_machine(own: str) -> None:
    """Every address of every interface of this machine is refused, however written, unless it is allowed."""
    allowed = (ip_network(own),)

    assert [] == [one for one in spellings(own) if is_allowed(one, ())]
    assert is_allowed(own, allowed)
    assert not is_allowed(own, (ip_network("10.255.255.0/24"),))


_IN_A_NAMESPACE = """
import subprocess, sys
from webhooks.addresses import is_allowed
subprocess.run("ip link set lo up && ip addr add 10.1.1.1/32 dev lo && ip addr add 10.1.2.1/24 dev lo"
    " && ip addr add 10.1.2.2/24 dev lo && ip -6 addr add fd77::7/128 dev lo && ip route add local 10.9.0.0/16 dev lo",
    shell=True, check=True)
print([is_allowed(one, ()) for one in sys.argv[1:]])
"""


def test_addresses_as_the_kernel_has_them() -> None:
    """Second addresses of interfaces, and whole networks that lead here by a route, are refused."""
    asked = ["10.1.1.1", "10.1.2.1", "10.1.2.2", "fd77::7", "10.9.8.7", "10.1.1.3", "fd77::8", "10.8.8.8"]
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", _IN_A_NAMESPACE, *asked],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("this user may make no network namespace")

    assert f"{[False] * 5 + [True] * 3}\n" == done.stdout, done.stderr


def test_by_setting() -> None:
    """An operator may allow networks, and these only."""
    allowed = (ip_network("127.0.0.0/30"), ip_network("::1/128"))

    assert [True, True, True, False] == [
        is_allowed(address, allowed) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.2", "127.0.0.9")
    ]


def test_no_socket_for_a_refused_address() -> None:
    """A refused address gets no socket: whatever its name resolved to is judged, not the name."""
    make = socket_factory(())
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")

    with pytest.raises(AddressNotAllowedError):
        make((*entry, ("127.0.0.1", 80)))
    make((*entry, ("10.0.0.7", 80))).close()
