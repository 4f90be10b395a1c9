"""Connections to RabbitMQ: a lasting one with a confirmed channel (aio-pika), and one for a short task (pika)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import pika
import pika.exceptions
import structlog
from aio_pika import Connection, connect
from aio_pika.abc import AbstractChannel, AbstractConnection, TimeoutType
from aio_pika.exceptions import AMQPError
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from yarl import URL

from broker.amqp.errors import BlockedError, BrokerUnavailableError, explain_broker_error

_log = structlog.get_logger(__name__)

# The bound of connecting and of publishing, in seconds.
PUBLISH_S: Final = 5.0
# After so many seconds without an answer of one address of the broker's name the next one is tried beside it: of a
# machine that is gone nothing comes, and waiting for it would take all of the bound, each time again.
_NEXT_ADDRESS_S: Final = 0.5
# How long a connection that may be broken is given to close, in seconds.
_CLOSE_S: Final = 0.3

# RabbitMQ's user where a URL names none.
_DEFAULT_USER: Final = "guest"

# What pika raises while a broker cannot be reached; an unanswered handshake is the second, which is none of the first.
_UNREACHABLE: Final = (pika.exceptions.AMQPError, AMQPConnectorException, OSError)

# What a broken connection raises; a refused delivery, an AMQPError too, is to be caught before.
BROKEN: Final = (TimeoutError, AMQPError, OSError, RuntimeError)


def user_of(url: str) -> str:
    """Return the user that a broker's URL names."""
    return URL(url).user or _DEFAULT_USER


def is_cancelled() -> bool:
    """Return whether the running task itself is cancelled.

    aio-pika cancels what waits for a confirm when the connection is dropped, for instance because another publish had
    waited too long; that is a failed publish and no reason to end the task.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Connection(Connection):
    """Connection to RabbitMQ that closes itself when connecting fails.

    One that is collected unclosed begins to close itself in the event loop of the thread that collects it, or in a new
    one, which stays open.
    """

    async def connect(self, timeout: TimeoutType = None) -> None:  # noqa: ASYNC109 - of the library
        """Connect, as `aio_pika.connect` has it done."""
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise


class BrokerConnection:
    """A connection with one channel, for one event loop; `name` is what RabbitMQ shows of it.

    `prepare` is called with each new channel before its first use.
    """

    def __init__(
        self, url: str, name: str, prepare: Callable[[AbstractChannel], Awaitable[None]] | None = None
    ) -> None:
        self._url = url
        self._name = name
        self._prepare = prepare
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._connecting = asyncio.Lock()

    async def open(self) -> AbstractChannel:
        """Return the channel; several callers at once get the same one.

        Raises:
            BlockedError: The broker has said that it takes nothing in.
            One of BROKEN: The broker is out of reach.
        """
        if await self.is_blocked():
            raise BlockedError
        async with self._connecting:
            if self._channel is None or self._channel.is_closed:
                await self.drop()
                self._connection = await connect(
                    self._url,
                    timeout=PUBLISH_S,
                    client_properties={"connection_name": self._name},
                    connection_class=_Connection,
                    happy_eyeballs_delay=_NEXT_ADDRESS_S,
                )
                channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                if self._prepare is not None:
                    await self._prepare(channel)
                self._channel = channel
            return self._channel

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[AbstractChannel]:
        """Give a channel beside the other one, for what the broker may refuse: a refusal closes the channel it came by.

        Raises:
            As `open` does.
        """
        _ = await self.open()
        if self._connection is None:
            raise ConnectionError("the connection was dropped meanwhile")
        channel = await self._connection.channel(publisher_confirms=False)
        try:
            yield channel
        finally:
            await channel.close()

    async def is_blocked(self) -> bool:
        """Return whether the broker has said that it takes nothing in, as during a memory or disk alarm."""
        transport = None if self._connection is None else self._connection.transport
        if transport is None:
            return False
        try:
            # Returns at once unless the connection is blocked.
            async with asyncio.timeout(0):
                await transport.connection.ready()
        except TimeoutError:
            return True
        return False

    async def give_up(self) -> None:
        """Drop the connection unless the broker has blocked it: then it is sound, and knows when the alarm is over."""
        if not await self.is_blocked():
            await self.drop()

    async def drop(self) -> None:
        """Forget a connection that may be broken; its closing must not wait for an answer that never comes."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and not connection.is_closed:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await connection.close()
            except BROKEN:
                _log.debug("amqp.dropped")


@contextmanager
def short_connection(
    url: str, name: str, *, timeout_s: float, heartbeat_s: int | None = None
) -> Iterator[pika.BlockingConnection]:
    """Give a connection for a short task of a command.

    Args:
        url: Of the broker, with user and password.

        name: What RabbitMQ shows of the connection.

        timeout_s: How long the connection and, while RabbitMQ blocks publishers, each step may take, in seconds.

        heartbeat_s: Bounds an answer that never comes, in seconds; None: as RabbitMQ proposes.

    Raises:
        BrokerUnavailableError: The broker is out of reach, refuses the user, or breaks the connection.
    """
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.blocked_connection_timeout = parameters.stack_timeout = timeout_s
    if heartbeat_s is not None:
        parameters.heartbeat = heartbeat_s
    parameters.client_properties = {"connection_name": name}
    try:
        with pika.BlockingConnection(parameters) as connection:
            yield connection
    except _UNREACHABLE as error:
        raise BrokerUnavailableError(url, explain_broker_error(error)) from error
