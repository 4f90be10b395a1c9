"""Addresses that a webhook may lead to: checked when the socket is made, after the name was resolved.

Whoever may make webhooks shall not thereby reach what only this machine reaches: its own services, and the metadata
services of clouds, which hand out credentials. Private networks are allowed, for there the receivers are.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from messages.site_addresses import read_address
from runner.machine_addresses import leads_here

Network = IPv4Network | IPv6Network

# Metadata services that are at no link-local address: AWS, Google, Scaleway, Alibaba, Oracle, Azure.
_METADATA: Final = frozenset(
    map(
        ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
# "This network": Linux takes some of it for the machine itself.
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")

REFUSED: Final = (
    "The receiver's address is not allowed (this machine's own, loopback, link-local, metadata or no host): see"
    " PRESTAGER_WEBHOOK_ALLOW_NETWORKS."
)


class AddressRefusedError(OSError):
    """A webhook leads to an address that is not allowed."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, REFUSED)


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Tell whether a webhook may lead to an address; `allowed` are networks that may be reached whatever they are."""
    # A link-local address may name its interface.
    address = read_address(text.partition("%")[0])
    if address is None:
        raise ValueError(f"{text} is no IP address")
    if any(address in network for network in allowed):
        return True
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address.is_reserved
        or address in _METADATA
        or address in _THIS_NETWORK
        or leads_here(address)
    )


def socket_maker(allowed: Sequence[Network]) -> Callable[[Any], socket.socket]:
    """Return what makes a socket for an entry of `getaddrinfo`, and refuses to for an address that is not allowed."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), allowed):
            raise AddressRefusedError
        return socket.socket(family=family, type=kind, proto=protocol)

    return make
