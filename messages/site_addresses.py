"""Addresses that a caller may give a site, and names that no subcloud may have.

Passwords are sent to a site's address, so each spelling of a loopback, link-local or multicast address is refused.

A subcloud is the one host of its run's inventory. A host called `localhost` would take the tasks that belong on the
controller, and one called like a group of Ansible's breaks the inventory. Other spellings, such as `Localhost`, are
ordinary names to Ansible.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

HOST_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}"
REFUSED: Final = "loopback, link-local, multicast and this machine's own addresses are not allowed"

_HOST: Final = re.compile(HOST_PATTERN)
# Resolvers read a name that ends in a number as an IPv4 address: 2130706433, 0x7f.1 and 127.1 are 127.0.0.1.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
# First labels of the names that /etc/hosts gives to loopback and multicast addresses.
_LOCAL_LABELS: Final = frozenset({"localhost", "localhost4", "localhost6", "loopback"})
_LOCAL_PREFIX: Final = "ip6-"
_NAT64: Final = IPv6Network("64:ff9b::/96")
_THIS_NETWORK_BITS: Final = 24
_COMPATIBLE_BITS: Final = 32
_IPV4_MASK: Final = (1 << 32) - 1


def read_address(text: str) -> Address | None:
    """Return the address that a text is, an IPv4 address where an IPv6 one only wraps it; None for a name.

    An address with a zone, such as `fe80::1%eth0`, is none.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id is not None else _unwrapped(address)


def is_site_address(text: str) -> bool:
    """Return whether a site may be at an IP address or host name, by its form; names are not resolved."""
    address = read_address(text)
    if address is not None:
        return not _is_local(address)
    name = text.lower().rstrip(".")
    if not _HOST.fullmatch(text) or not name:
        return False
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return False
    return not ({labels[0], labels[-1]} & _LOCAL_LABELS or labels[0].startswith(_LOCAL_PREFIX))


def _is_local(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        # "This network", which Linux takes for the machine itself, and the broadcast address.
        or (isinstance(address, IPv4Address) and int(address) >> _THIS_NETWORK_BITS in {0, 255})
    )


def _unwrapped(address: IPv6Address) -> Address:
    # The second of a Teredo address is that of the client, which is the one that is reached.
    wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
    if wrapped is not None:
        return wrapped
    number = int(address)
    is_compatible = number > 1 and number >> _COMPATIBLE_BITS == 0
    return IPv4Address(number & _IPV4_MASK) if is_compatible or address in _NAT64 else address


# Names of the implicit host (`ansible.constants.LOCALHOST`) and of the groups that each inventory has.
_RESERVED: Final = frozenset({"localhost", "127.0.0.1", "::1", "all", "ungrouped"})


def is_reserved_host_name(name: str) -> bool:
    """Return whether Ansible gives the name a meaning of its own."""
    return name in _RESERVED


def rename_text(name: str) -> str:
    """Return the sentence about a subcloud that got such a name in an earlier release."""
    return f"The name {name} is reserved by Ansible; give the subcloud another one before it is prestaged."


def reserved_name_text(name: str) -> str:
    """Return the sentence of the error, without its full stop."""
    return f"name {name} is reserved by Ansible; choose another one"
