"""Publishes to RabbitMQ from any thread: confirmed, mandatory, and never blocking a caller for longer than 5 s.

One connection in one event loop of its own, so a partition or a memory alarm that blocks the broker blocks nobody
here; measured, pika's own blocking publish waits as long as the fault lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from typing import Any, Final, TypeVar

import structlog
from aio_pika import DeliveryMode, ExchangeType, Message, connect
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError

from actors.amqp.topology import EXCHANGES, QUEUES

_log = structlog.get_logger(__name__)

# The bound of the promise, in seconds.
PUBLISH_S: Final = 5.0
_APP_ID: Final = "prestager"

T = TypeVar("T")


class PublishError(Exception):
    """The broker did not confirm in time, refused the message, or cannot route it; it may have arrived all the same."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One message."""

    # The default exchange is "".
    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    # Shown by RabbitMQ's management page.
    type: str
    content_type: str = "application/json"
    correlation_id: str | None = None
    reply_to: str | None = None
    # How long it may wait in a queue, in seconds.
    expires_s: float | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    # Whether a message that no queue takes is an error.
    mandatory: bool = True


def is_cancelled() -> bool:
    """Tell whether it is the running task that somebody cancels.

    aio-pika cancels what waits for a confirm when the connection is dropped, for instance because another publish had
    waited too long; that is a failed publish and no reason to end the task.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Publisher:
    """A connection for publishing; connects at the first use and again after a fault.

    `name` is what RabbitMQ shows of the connection.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="amqp-publisher", daemon=True)
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchanges: dict[str, AbstractExchange] = {}
        self._connecting = asyncio.Lock()

    def start(self) -> None:
        """Start the loop; nothing connects yet."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection and end the loop. Repeating it does nothing."""
        if not self._thread.is_alive():
            return
        try:
            self._wait(self._disconnect())
        except PublishError:
            _log.warning("amqp.close-failed")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PUBLISH_S)
        self._loop.close()

    def declare(self) -> None:
        """Make every exchange and queue that is not there.

        Raises:
            PublishError: The broker is out of reach, or has a queue of the same name with other arguments.
        """
        self._wait(self._declare())

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish all, with their confirms in flight together.

        Raises:
            PublishError: At least one was not confirmed within 5 s; any of them may have arrived.
        """
        self._wait(self._publish_all(messages))

    async def publish_async(self, message: Outgoing) -> None:
        """Publish one from another event loop; see `publish`."""
        future = asyncio.run_coroutine_threadsafe(self._bounded(self._publish_all([message])), self._loop)
        await asyncio.wrap_future(future)

    def is_connected(self) -> bool:
        """Tell whether the broker answers now, within 5 s."""
        try:
            self._wait(self._ping())
        except PublishError:
            return False
        return True

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(self._bounded(work), self._loop)
        try:
            # The loop bounds the work itself; this is for a loop that is stuck.
            return future.result(PUBLISH_S + 1)
        except FutureTimeoutError as error:
            future.cancel()
            raise PublishError(f"the broker did not confirm within {PUBLISH_S:g} s") from error

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(PUBLISH_S):
                return await work
        except TimeoutError as error:
            await self._drop()
            raise PublishError(f"the broker did not confirm within {PUBLISH_S:g} s") from error
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise PublishError("the connection was dropped meanwhile") from None
        except DeliveryError as error:
            raise PublishError("the broker refused the message or has no queue for it") from error
        except (AMQPError, OSError, RuntimeError) as error:
            await self._drop()
            raise PublishError(f"the broker is out of reach: {type(error).__name__}") from error

    async def _publish_all(self, messages: Sequence[Outgoing]) -> None:
        channel = await self._open_channel()
        await asyncio.gather(*(self._publish(channel, message) for message in messages))

    async def _publish(self, channel: AbstractChannel, outgoing: Outgoing) -> None:
        exchange = await self._exchange(channel, outgoing.exchange)
        message = Message(
            outgoing.body,
            content_type=outgoing.content_type,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=outgoing.message_id,
            type=outgoing.type,
            app_id=_APP_ID,
            timestamp=datetime.now(UTC),
            correlation_id=outgoing.correlation_id,
            reply_to=outgoing.reply_to,
            expiration=outgoing.expires_s,
            headers=outgoing.headers,
        )
        await exchange.publish(message, outgoing.routing_key, mandatory=outgoing.mandatory)

    async def _exchange(self, channel: AbstractChannel, name: str) -> AbstractExchange:
        if not name:
            return channel.default_exchange
        if name not in self._exchanges:
            self._exchanges[name] = await channel.get_exchange(name, ensure=False)
        return self._exchanges[name]

    async def _open_channel(self) -> AbstractChannel:
        async with self._connecting:
            if self._channel is None or self._channel.is_closed or self._connection is None:
                await self._drop()
                self._connection = await connect(
                    self._url, timeout=PUBLISH_S, client_properties={"connection_name": self._name}
                )
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            return self._channel

    async def _ping(self) -> None:
        _ = await self._open_channel()

    async def _declare(self) -> None:
        channel = await self._open_channel()
        for exchange in EXCHANGES:
            await channel.declare_exchange(exchange.name, ExchangeType(exchange.kind), durable=True)
        for spec in QUEUES:
            queue = await channel.declare_queue(spec.name, durable=True, arguments=dict(spec.arguments))
            for source, key in spec.bindings:
                await queue.bind(source, key)

    async def _drop(self) -> None:
        """Forget a connection that may be broken; its closing must not wait for an answer that never comes."""
        connection, self._connection, self._channel = self._connection, None, None
        self._exchanges.clear()
        if connection is not None and not connection.is_closed:
            try:
                async with asyncio.timeout(0.5):
                    await connection.close()
            except (TimeoutError, AMQPError, OSError, RuntimeError):
                _log.debug("amqp.dropped")

    async def _disconnect(self) -> None:
        await self._drop()
