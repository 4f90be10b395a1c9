"""Addresses and names of the machine that this process runs on; no site may be at one of them."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from messages.site_addresses import REFUSED, Address, is_site_address, read_address
from runner.errors import SiteAddressError

_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})
# Nothing is sent: the port only completes the address.
_DISCARD_PORT: Final = 9

_HOST: Final = "ansible_host"


def own_addresses() -> frozenset[Address]:
    """Return the addresses of all interfaces, those that are down too."""
    # A process that contacts no site needs it for nothing else.
    import psutil  # noqa: PLC0415

    return frozenset(
        ip_address(one.address.partition("%")[0])
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family in _FAMILIES
    )


def own_names() -> frozenset[str]:
    """Return the names of this machine, with and without its domain, in lower case."""
    name = socket.gethostname().lower()
    return frozenset({name, name.partition(".")[0]})


def leads_here(address: Address) -> bool:
    """Return whether a connection to an address ends at this machine, by its interfaces and by its routes."""
    return address in own_addresses() or _is_routed_here(address)


def is_elsewhere(text: str) -> bool:
    """Return whether a site may be at an IP address or host name: not at this machine, as far as the text shows it."""
    address = read_address(text)
    leads_to_us = text.lower().rstrip(".") in own_names() if address is None else leads_here(address)
    return is_site_address(text) and not leads_to_us


def _is_routed_here(address: Address) -> bool:
    """Return whether the kernel would speak to an address from the very same address, as it does with its own."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(address), _DISCARD_PORT))
            return ip_address(str(asking.getsockname()[0]).partition("%")[0]) == address
    except OSError:
        # No route at all.
        return False


def with_checked_address(host_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables with the address that the host name resolves to now, so that ssh asks for no other one.

    A name that does not resolve stays: ssh says what is wrong with it. May wait as long as the resolver does.

    Raises:
        SiteAddressError: The address, or one of those that the name resolves to, is one of this machine.
    """
    host = str(host_vars[_HOST])
    addresses = [host] if read_address(host) is not None else _resolved(host)
    for address in addresses:
        if not is_elsewhere(address):
            raise SiteAddressError(f"{host} leads to {address}, but {REFUSED}")
    return {**host_vars, _HOST: addresses[0] if addresses else host}


def _resolved(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(one[4][0]) for one in found]
