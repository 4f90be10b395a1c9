"""Consumer for Dramatiq's worker: validates each body, and settles a delivery on its own channel only.

Dramatiq's own consumer acknowledges by number; after a reconnect the numbers start again, and an actor that began
before acknowledges a foreign message, which is then lost if the worker dies. Here each delivery holds its consumer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import pika
import pika.exceptions
import structlog
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.errors import ConnectionClosed
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.spec import Basic

from broker.amqp.errors import explain_broker_error

_log = structlog.get_logger(__name__)

# pika asserts, and meets its own closed timers, when a connection breaks meanwhile.
_BROKEN: Final = (
    AssertionError,
    ValueError,
    OSError,
    AMQPConnectorException,
    pika.exceptions.AMQPConnectionError,
    pika.exceptions.AMQPChannelError,
)

# Returns the message for an actor; None when it has settled the delivery otherwise.
Reader = Callable[[Basic.Deliver, pika.BasicProperties, bytes], Message[Any] | None]


class Delivery(MessageProxy):
    """A message with its consumer and its delivery tag there."""

    def __init__(self, message: Message[Any], consumer: AmqpConsumer, tag: int) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tag = tag


class AmqpConsumer(Consumer):
    """Consumes one queue over a connection of its own.

    `has_room` returns whether the process can take a message now; while it cannot, nothing is consumed: messages stay
    in the queue, where operators see them. Earlier deliveries are passed on all the same, for RabbitMQ closes the
    channel of a consumer that holds a delivery for too long.

    Raises:
        ConnectionClosed: At construction and in `__next__`; Dramatiq then makes a new consumer after 3 s.
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
        self._queue_name = queue_name
        # Delivered, not passed to Dramatiq yet.
        self._arrived: deque[tuple[Basic.Deliver, pika.BasicProperties, bytes]] = deque()
        # Consumer tag; None while nothing is consumed.
        self._consuming: str | None = None
        try:
            self._connection = pika.BlockingConnection(parameters)
            self._channel: BlockingChannel = self._connection.channel()
            self._channel.basic_qos(prefetch_count=prefetch)
            self._channel.add_on_cancel_callback(self._cancelled)
        except _BROKEN as error:
            raise _closed(error) from None

    def __next__(self) -> Delivery | None:
        """Return the next message; None when there was none for a while, or none that an actor takes."""
        try:
            self._consume_if(self._has_room())
            if not self._arrived:
                # Sends heartbeats and pending acknowledgements too.
                self._connection.process_data_events(time_limit=self._timeout_s)
        except _BROKEN as error:
            raise _closed(error) from None
        if not self._channel.is_open:
            raise ConnectionClosed(f"the channel of {self._queue_name} was closed")  # type: ignore[no-untyped-call]
        if not self._arrived:
            return None
        method, properties, body = self._arrived.popleft()
        message = self._read_safely(method, properties, body)
        if message is None:
            self._settle(partial(self._channel.basic_ack, method.delivery_tag))
            return None
        return Delivery(message, self, method.delivery_tag)

    def _consume_if(self, wanted: bool) -> None:  # noqa: FBT001 - the one argument
        if wanted and self._consuming is None:
            self._consuming = self._channel.basic_consume(self._queue_name, self._arrive)
        elif not wanted and self._consuming is not None:
            # Takes deliveries on their way: pika sends back those that it has not passed on when the consuming ends.
            self._connection.process_data_events(time_limit=0)
            self._channel.basic_cancel(self._consuming)
            self._consuming = None

    def _cancelled(self, _: object) -> None:
        """Note that the broker ended the consuming, as when the queue is deleted."""
        self._consuming = None

    def _arrive(self, _: object, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes) -> None:
        self._arrived.append((method, properties, body))

    def _read_safely(self, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes) -> Message[Any] | None:
        try:
            return self._read(method, properties, body)
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
        """Do nothing: unsettled deliveries come again when the connection closes."""

    def close(self) -> None:
        """Send pending settlements and close the connection; never raises, for that would end the thread."""
        if not self._connection.is_open:
            return
        try:
            self._connection.process_data_events(time_limit=0)
            self._connection.close()
        except Exception as error:  # noqa: BLE001 - pika raises many kinds for a connection that breaks meanwhile
            _log.debug("amqp.close-failed", fault=type(error).__name__)


def _closed(error: BaseException) -> ConnectionClosed:
    """Return why a consumer ends, in words that name no class of a library."""
    if isinstance(error, pika.exceptions.ConnectionClosedByBroker | pika.exceptions.ChannelClosedByBroker):
        reason = f"the broker closed it: {error.reply_text}"
    else:
        reason = f"the broker {explain_broker_error(error).reason}"
    return ConnectionClosed(reason)  # type: ignore[no-untyped-call]
