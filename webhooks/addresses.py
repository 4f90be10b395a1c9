"""Addresses of webhook receivers: resolution of their names, and the policy of addresses that are allowed.

A user who may make webhooks must not reach what only this machine reaches: its own services, and the metadata
services of clouds, which hand out credentials. Private networks are allowed, for receivers are there. An address is
checked when the socket is made, after the name was resolved.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Network, IPv6Network, ip_address
from threading import Thread
from typing import Any, Final, TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

from messages.site_addresses import read_address
from runner.machine_addresses import leads_here
from statemachine.errors import PrestagerError

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

_NUMERIC: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV

_T = TypeVar("_T")

NOT_ALLOWED: Final = (
    "The receiver's address is not allowed (this machine's own, loopback, link-local, metadata or no host): see"
    " PRESTAGER_WEBHOOK_ALLOW_NETWORKS."
)


class AddressNotAllowedError(PrestagerError, OSError):
    """A webhook leads to an address that is not allowed."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, NOT_ALLOWED)


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Return whether a webhook may lead to an address; the networks in `allowed` may always be reached."""
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


def socket_factory(allowed: Sequence[Network]) -> Callable[[Any], socket.socket]:
    """Return a factory of sockets for entries of `getaddrinfo`.

    Raises:
        AddressNotAllowedError: From the factory, for an address that is not allowed.
    """

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), allowed):
            raise AddressNotAllowedError
        return socket.socket(family=family, type=kind, proto=protocol)

    return make


class Resolver(AbstractResolver):
    """Resolves names as the system does, one thread for each name at once: aiohttp makes others wait for it.

    The system's resolver may hang for a minute, and cannot be stopped. In the threads that an event loop shares it
    would hold up the database and other receivers, and in those of any pool the end of the process.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            OSError: It has none, or no name server answers.
        """
        return await _in_daemon_thread(lambda: _addresses(host, port, family))

    async def close(self) -> None:
        """Do nothing: threads that hang are left alone."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            # With the interface, which a link-local address needs.
            host=socket.getnameinfo(address, _NUMERIC)[0],
            port=port,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]


async def _in_daemon_thread(work: Callable[[], _T]) -> _T:
    """Run `work` in a thread that neither the loop nor the process waits for at its end, and return its result."""
    promise: Future[_T] = Future()
    # It cannot be cancelled from here on; the task that waits for it can.
    promise.set_running_or_notify_cancel()

    def run() -> None:
        try:
            promise.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            promise.set_exception(error)

    Thread(target=run, name="webhook-name", daemon=True).start()
    return await asyncio.wrap_future(promise)
