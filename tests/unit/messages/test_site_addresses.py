"""Addresses of sites: never this machine, however it is spelled."""

from __future__ import annotations

from ipaddress import ip_address
from socket import AF_INET, AF_INET6, getaddrinfo

import pytest

from messages.errors import RequestError
from messages.requests.base import parse_request
from messages.requests.subcloud import ImportedSubcloudChange, NewSubcloud, SubcloudChange
from messages.site_addresses import is_site_address

LOCAL = [
    *("127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1"),
    *("64:ff9b::127.0.0.1", "2002:7f00:1::", "2001:0:1::80ff:fffe", "0.0.0.0", "0.1.2.3", "::", "255.255.255.255"),  # noqa: S104 - refused, not bound to
    *("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.1.1", "224.0.0.1", "ff02::1"),
]
LOCAL_NAMES = [
    *("localhost", "LocalHost", "localhost.", "a.localhost", "localhost.localdomain", "localhost6", "ip6-localhost"),
    *("ip6-loopback", "ip6-allnodes", "2130706433", "0x7f000001", "0X7F.1", "127.1", "0177.0.0.1", "127.0.0.1."),
    *("0", "0x", "a.1", "1.2.3"),
]


@pytest.mark.parametrize("text", [*LOCAL, *LOCAL_NAMES])
def test_this_machine_is_no_site(text: str) -> None:
    """Loopback, link-local and multicast addresses are refused in every spelling, and names that stand for them."""
    assert not is_site_address(text)


@pytest.mark.parametrize("text", [*LOCAL, *LOCAL_NAMES])
def test_callers_cannot_lead_a_password_here(text: str) -> None:
    """No field of a site by which it is reached takes such an address from a caller; the operator's import may."""
    for name in ("oam_floating_ip", "external_oam_floating_address", "management-start-ip", "bootstrap-address"):
        with pytest.raises(RequestError, match=f"^Invalid {name}: "):
            parse_request(NewSubcloud, {"name": "a", name: text})
    with pytest.raises(RequestError, match=r"^Invalid connection: ansible_host must be"):
        parse_request(SubcloudChange, {"connection": {"ansible_host": text}})


def test_the_import_may_lead_anywhere() -> None:
    """The operator's own file may place a site on loopback, as simulated fleets are."""
    wanted = {"oam_floating_ip": "127.0.0.1", "connection": {"ansible_host": "127.0.0.1"}}

    assert wanted == parse_request(ImportedSubcloudChange, wanted).model_dump(exclude_none=True)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "192.0.2.1", "fd00::1", "2620:10a::15", "edge-1", "edge.example.com", "a1.example.com.", "1a"]
)
def test_other_places(text: str) -> None:
    """Private and public addresses and ordinary names are sites."""
    assert is_site_address(text)


@pytest.mark.parametrize("name", [name for name in LOCAL_NAMES if not name.startswith("ip6-all")])
def test_the_names_are_those_of_the_resolver(name: str) -> None:
    """What is refused as a name for a number is what the system's resolver reads as one, or does not know."""
    try:
        found = {ip_address(str(one[4][0])) for one in getaddrinfo(name, 22) if one[0] in {AF_INET, AF_INET6}}
    except OSError:
        return
    assert all(address.is_loopback or address.is_unspecified or address == ip_address("1.2.0.3") for address in found)
