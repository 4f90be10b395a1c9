"""A broker whose name has several addresses, as a cluster's has."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from broker.amqp.publisher import Publisher
from tests.support.tcp_proxy import HOST
from tests.support.virtual_host import VirtualHost

NAME = "broker.test"
# On loopback, and nobody else's.
SILENT = "127.0.0.77"


@pytest.fixture
def silent(host: VirtualHost) -> Iterator[str]:
    """Give an address at which the broker's port answers no connection, as that of a machine that is gone."""
    with socket.socket() as listener:
        listener.bind((SILENT, host.server.port))
        # One connection is taken in; the kernel drops all that come after.
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((SILENT, host.server.port))
        yield SILENT
        for one in waiting:
            one.close()


def test_an_address_that_does_not_answer_is_passed_over(
    host: VirtualHost, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name whose first address does not answer leads to the next one within the bound of a connection."""

    async def resolve(_loop: object, name: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        assert name == NAME
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in (silent, HOST)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    publisher = Publisher(host.url().replace(f"@{HOST}", f"@{NAME}"), "test")
    publisher.start()
    try:
        assert publisher.connect()
    finally:
        publisher.stop()
