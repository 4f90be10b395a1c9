"""Names of receivers, resolved in threads of their own that nobody waits for.

The system's resolver may hang for a minute, and cannot be stopped. In the threads that an event loop shares it would
hold up the database and other receivers, and in those of any pool the end of the process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Final, TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

_T = TypeVar("_T")

_NUMERIC: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class Resolver(AbstractResolver):
    """Resolves names as the system does. One thread for each name at once: aiohttp has others wait for it."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            OSError: It has none, or nobody can tell.
        """
        return await _alone(lambda: _addresses(host, port, family))

    async def close(self) -> None:
        """Do nothing: what hangs is left alone."""


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


async def _alone(work: Callable[[], _T]) -> _T:
    """Return what comes of `work`, in a thread that neither the loop nor the process waits for at its end."""
    promise: Future[_T] = Future()
    # From here on it cannot be cancelled; who waits for it can.
    promise.set_running_or_notify_cancel()

    def run() -> None:
        try:
            promise.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            promise.set_exception(error)

    Thread(target=run, name="webhook-name", daemon=True).start()
    return await asyncio.wrap_future(promise)
