"""What Dramatiq's worker reads a queue through: validates each body, and settles a delivery on its own channel only.

Dramatiq's own consumer acknowledges by number; after a reconnect the numbers start again, and an actor that began
before acknowledges a stranger's message, which is then lost if the worker dies. Here each delivery knows the consumer
it came by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import pika
import pika.exceptions
import structlog
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.errors import ConnectionClosed
from pika.adapters.blocking_connection import BlockingChannel

_log = structlog.get_logger(__name__)

# pika asserts, and meets its own closed timers, when a connection breaks meanwhile.
_BROKEN: Final = (
    AssertionError,
    ValueError,
    OSError,
    pika.exceptions.AMQPConnectionError,
    pika.exceptions.AMQPChannelError,
)

# What a reader makes of a delivery: the message for an actor; None when it has dealt with the delivery otherwise.
Reader = Callable[[pika.BasicProperties, bytes], Message[Any] | None]


class Delivery(MessageProxy):
    """A message with the consumer it came by and its number there."""

    def __init__(self, message: Message[Any], consumer: AmqpConsumer, tag: int) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tag = tag


class AmqpConsumer(Consumer):
    """Consumes one queue over a connection of its own.

    `has_room` tells whether the process can take a message now; while it cannot, messages stay in the queue, where
    whoever watches it sees them.

    Raises:
        ConnectionClosed: At construction and in `__next__`; Dramatiq then makes a new consumer after a second.
    """

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        parameters: pika.ConnectionParameters,
        queue_name: str,
        *,
        prefetch: int,
        timeout_ms: int,
        read: Reader,
        has_room: Callable[[], bool],
    ) -> None:
        self._read = read
        self._has_room = has_room
        self._timeout_s = timeout_ms / 1000
        try:
            self._connection = pika.BlockingConnection(parameters)
            self._channel: BlockingChannel = self._connection.channel()
            self._channel.basic_qos(prefetch_count=prefetch)
            self._deliveries = self._channel.consume(queue_name, inactivity_timeout=self._timeout_s)
        except _BROKEN as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def __next__(self) -> Delivery | None:
        """Return the next message; None when there was none for a while, or none that an actor takes."""
        try:
            if not self._has_room():
                # Heartbeats go on, and so do acknowledgements that wait.
                self._connection.process_data_events(time_limit=self._timeout_s / 10)
                return None
            method, properties, body = next(self._deliveries)
        except _BROKEN as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        if method is None or method.delivery_tag is None or properties is None or body is None:
            return None
        message = self._read_safely(properties, body)
        if message is None:
            self._settle(partial(self._channel.basic_ack, method.delivery_tag))
            return None
        return Delivery(message, self, method.delivery_tag)

    def _read_safely(self, properties: pika.BasicProperties, body: bytes) -> Message[Any] | None:
        try:
            return self._read(properties, body)
        except _BROKEN:
            raise
        except Exception as error:  # noqa: BLE001 - logged, and the delivery comes again
            # Not acknowledged: it comes again, and after the delivery limit it is a dead letter.
            _log.exception("amqp.unread")
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a delivery of this consumer; one of an earlier connection is left alone, for it comes again."""
        self._of_ours(message, "basic_ack")

    def nack(self, message: MessageProxy) -> None:
        """Make a delivery of this consumer a dead letter; see `ack`."""
        self._of_ours(message, "basic_nack", requeue=False)

    def _of_ours(self, message: MessageProxy, verb: str, **options: Any) -> None:
        if not isinstance(message, Delivery) or message.consumer is not self:
            _log.warning("amqp.late-settlement", message=message.message_id)
            return
        self._settle(partial(getattr(self._channel, verb), message.tag, **options))

    def _settle(self, work: Callable[[], object]) -> None:
        try:
            self._connection.add_callback_threadsafe(work)
        except _BROKEN as error:
            # The connection is gone and the delivery with it: it comes again.
            _log.warning("amqp.unsettled", fault=type(error).__name__)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Do nothing: what is not settled comes again when the connection closes."""

    def close(self) -> None:
        """Settle what waits to be settled and close the connection; never raises, for that would end the thread."""
        if not self._connection.is_open:
            return
        try:
            self._connection.process_data_events(time_limit=0)
            self._connection.close()
        except Exception as error:  # noqa: BLE001 - pika raises many kinds for a connection that breaks meanwhile
            _log.debug("amqp.close-failed", fault=type(error).__name__)
