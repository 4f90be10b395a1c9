"""Address of a site that a caller named, judged when its run begins: what a name resolves to may have changed."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final

from messages.site_addresses import REFUSED, read_address
from runner.machine_addresses import is_elsewhere

_HOST: Final = "ansible_host"


class SiteAddressError(Exception):
    """A site would be looked for at this machine; the message says so."""


def with_judged_address(host_vars: Mapping[str, Any]) -> dict[str, Any]:
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
