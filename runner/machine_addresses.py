"""Addresses of the machine that this process runs on."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import psutil

Address = IPv4Address | IPv6Address

_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})
# Nothing is sent: the port only completes the address.
_DISCARD_PORT: Final = 9


def own_addresses() -> frozenset[Address]:
    """Return the addresses of all interfaces, those that are down too."""
    return frozenset(
        ip_address(one.address.partition("%")[0])
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family in _FAMILIES
    )


def leads_here(address: Address) -> bool:
    """Return whether a connection to an address ends at this machine, by its interfaces and by its routes."""
    return address in own_addresses() or _is_routed_here(address)


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
