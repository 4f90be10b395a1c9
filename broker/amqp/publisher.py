"""Publishes to RabbitMQ from any thread: confirmed, mandatory, and never blocking a caller for longer than 5 s.

One connection in one event loop of its own, so a partition or a memory alarm that blocks the broker blocks no
caller; measured, pika's own blocking publish waits as long as the fault lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from typing import Any, Final, TypeVar

import pika
import structlog
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, DeliveryError
from aiormq.exceptions import ChannelAccessRefused

from broker.amqp.connection import BROKEN, PUBLISH_S, BrokerConnection, is_cancelled, user_of
from broker.amqp.errors import BlockedError, PublishError, explain_broker_error
from broker.amqp.topology import EXCHANGES, QUEUES
from tracing.tracer import Kind, Span, Tracer, parse_traceparent

_log = structlog.get_logger(__name__)

_APP_ID: Final = "prestager"
# Header of the W3C trace context.
_TRACE_HEADER: Final = "traceparent"
# Bound of the check whether the broker answers, in seconds: readiness takes 5 s in all.
_ANSWER_S: Final = 3.0

T = TypeVar("T")


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
    # Must be the publishing user's own name, which RabbitMQ checks.
    user_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    # Whether a message that no queue takes is an error.
    mandatory: bool = True


class Publisher:
    """A connection for publishing; connects at the first use and again after an error.

    `name` is what RabbitMQ shows of the connection.
    """

    def __init__(self, url: str, name: str) -> None:
        self.user = user_of(url)
        self._url = url
        self._name = name
        self._connection = BrokerConnection(url, name)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="amqp-publisher", daemon=True)

    def prepare(self, work: Callable[[AbstractChannel], Awaitable[None]]) -> None:
        """Have `work` done with every channel that is opened; to be called before the start."""
        self._connection = BrokerConnection(self._url, self._name, work)

    def start(self) -> None:
        """Start the loop; nothing connects yet."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection and end the loop, also one that was never started. Repeating it does nothing."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        try:
            self._wait(self._connection.drop(), PUBLISH_S)
        except PublishError:
            _log.warning("amqp.close-failed")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PUBLISH_S)
        self._loop.close()

    def declare(self) -> None:
        """Declare every exchange and queue.

        Raises:
            PublishError: The broker is out of reach, has a queue of the same name with other arguments, or does not
                let its user make what is missing.
        """
        self._wait(self._declare(), PUBLISH_S)

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish all, with their confirms in flight together.

        Raises:
            PublishError: At least one was not confirmed within 5 s; any of them may have arrived.
        """
        self._wait(self._publish_all(messages), PUBLISH_S)

    def submit(self, messages: Sequence[Outgoing]) -> Future[None]:
        """Begin to publish all; returns at once.

        The future ends when all are confirmed, or with a `PublishError`, as of `publish`.
        """
        return asyncio.run_coroutine_threadsafe(self._bounded(self._publish_all(messages), PUBLISH_S), self._loop)

    def connect(self) -> bool:
        """Connect unless connected; return whether it is. It may be broken all the same: see `unavailable_reason`."""
        try:
            self._wait(self._connect(), PUBLISH_S)
        except PublishError:
            return False
        return True

    def unavailable_reason(self) -> str | None:
        """Ask the broker and return why it does not answer now, or within 3 s; None when it does.

        A connection that stands says nothing: behind a partition it does so until heartbeats are missed, for minutes.
        """
        try:
            self._wait(self._ask(), min(_ANSWER_S, PUBLISH_S))
        except PublishError as error:
            return str(error)
        return None

    def _wait(self, work: Coroutine[Any, Any, T], bound_s: float) -> T:
        future = asyncio.run_coroutine_threadsafe(self._bounded(work, bound_s), self._loop)
        try:
            # The loop bounds the work itself; this is for a loop that is stuck.
            return future.result(bound_s + 1)
        except FutureTimeoutError as error:
            future.cancel()
            raise _unanswered(bound_s, error) from error

    async def _bounded(self, work: Coroutine[Any, Any, T], bound_s: float) -> T:
        try:
            async with asyncio.timeout(bound_s):
                return await work
        except TimeoutError as error:
            await self._connection.give_up()
            raise _unanswered(bound_s, error) from error
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise PublishError("the connection was dropped meanwhile") from None
        except DeliveryError as error:
            raise PublishError("the broker refused the message or has no queue for it") from error
        except BlockedError as error:
            raise PublishError(str(error)) from error
        except ChannelClosed as error:
            # By the broker, which gives the reason; the connection is sound.
            raise PublishError(f"the broker refused: {error}") from error
        except BROKEN as error:
            await self._connection.drop()
            problem = explain_broker_error(error)
            raise PublishError(f"the broker {problem.reason}", problem) from error

    async def _publish_all(self, messages: Sequence[Outgoing]) -> None:
        channel = await self._connection.open()
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
            user_id=outgoing.user_id,
            headers=outgoing.headers,
        )
        await exchange.publish(message, outgoing.routing_key, mandatory=outgoing.mandatory)

    @staticmethod
    async def _exchange(channel: AbstractChannel, name: str) -> AbstractExchange:
        if not name:
            return channel.default_exchange
        # Asks nothing of the broker: a name and its channel.
        return await channel.get_exchange(name, ensure=False)

    async def _connect(self) -> None:
        _ = await self._connection.open()

    async def _ask(self) -> None:
        # A channel is the cheapest thing to ask for, and disturbs no other one.
        async with self._connection.aside():
            pass

    async def _declare(self) -> None:
        # What is refused closes its channel, and no other one.
        async with self._connection.aside() as channel:
            try:
                await self._make(channel)
            except ChannelAccessRefused as refused:
                # A user that may not make queues can still use those that exist.
                if not await self._is_made():
                    raise refused from None

    async def _is_made(self) -> bool:
        async with self._connection.aside() as channel:
            try:
                for exchange in EXCHANGES:
                    _ = await channel.get_exchange(exchange.name)
                for spec in QUEUES:
                    _ = await channel.get_queue(spec.name)
            except ChannelNotFoundEntity:
                return False
        return True

    @staticmethod
    async def _make(channel: AbstractChannel) -> None:
        for exchange in EXCHANGES:
            await channel.declare_exchange(exchange.name, ExchangeType(exchange.kind), durable=True)
        for spec in QUEUES:
            queue = await channel.declare_queue(spec.name, durable=True, arguments=dict(spec.arguments))
            for source, key in spec.bindings:
                await queue.bind(source, key)


def _unanswered(bound_s: float, error: Exception) -> PublishError:
    return PublishError(f"the broker does not answer within {bound_s:g} s", explain_broker_error(error))


def trace_header(traceparent: str | None) -> dict[str, str]:
    """Return the headers of a message within this span; none when it is not traced."""
    return {} if traceparent is None else {_TRACE_HEADER: traceparent}


def read_trace_header(properties: pika.BasicProperties, tracer: Tracer) -> str | None:
    """Return the traceparent of a message; None when it has none in good form, or nothing is traced."""
    headers = properties.headers
    return parse_traceparent(headers.get(_TRACE_HEADER)) if tracer.is_on and isinstance(headers, dict) else None


def publish_span(tracer: Tracer, destination: str, parent: str | None) -> Span:
    """Begin the span of a publish; it ends when the broker has confirmed."""
    attributes = {"messaging.system": "rabbitmq", "messaging.destination.name": destination}
    return tracer.begin(f"publish {destination}", parent=parent, kind=Kind.PRODUCER, attributes=attributes)
