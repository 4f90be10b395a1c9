"""Dramatiq's RabbitMQ broker with our queues, consumer and publisher; writes and reads Dramatiq's envelope.

An envelope is checked before Dramatiq sees it. Measured on Dramatiq 2.2: a malformed one stops a queue for good, or
kills a worker thread each; and one option lets an outsider call any actor. So only the shapes that we send pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Annotated, Any, Final

import pika
from dramatiq import Consumer, Message
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker.amqp.consumer import AmqpConsumer, Reader
from broker.amqp.errors import BadEnvelopeError
from broker.amqp.publisher import Outgoing, Publisher
from messages.queues import COMMANDS

_HEARTBEAT_S: Final = 30
_CONNECT_S: Final = 5
_MAX_ARGUMENT: Final = 2**63 - 1


class PrestagerBroker(RabbitmqBroker):
    """A broker whose queues are quorum queues, whose publishes are confirmed, and which knows no delays.

    `reader_of(queue)` returns the reader of that queue's bodies; `has_room(queue)` is whether this process can take
    a message of it now. `on_consumer` is called for each new consumer: all but the first of a queue come after a
    connection that broke, or because the queue is gone. `name` is what RabbitMQ shows of its connections.
    """

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        url: str,
        name: str,
        publisher: Publisher,
        reader_of: Callable[[PrestagerBroker, str], Reader],
        has_room: Callable[[str], bool] = lambda _: True,
        *,
        on_consumer: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(url=url, middleware=[], confirm_delivery=True)
        self.publisher = publisher
        self._reader_of = reader_of
        self._has_room = has_room
        self._on_consumer = on_consumer
        self._connection_parameters = _parameters(url, name)

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """Register a queue, which the topology declares. There is no delay queue: waiting is done in the database."""
        del ensure
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return a consumer of a queue.

        Raises:
            ConnectionClosed: The broker is out of reach, or the queue is not there.
        """
        consumer = AmqpConsumer(
            self._connection_parameters,
            queue_name,
            # Commands are carried out in their order: the next one comes when the one before is settled. More at once
            # would only wait for each other, for the threads of the actors and then for the database.
            prefetch=1 if queue_name == COMMANDS else prefetch,
            timeout_ms=timeout,
            read=self._reader_of(self, queue_name),
            has_room=lambda: self._has_room(queue_name),
        )
        self._on_consumer()
        return consumer

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Publish a message, confirmed.

        Raises:
            ValueError: A delay is asked for.
            PublishError: The broker did not confirm it within 5 s.
        """
        if delay is not None:
            raise ValueError("messages are never delayed; the database says when something is due")
        self.publisher.publish([outgoing(message)])
        return message


def outgoing(message: Message[Any]) -> Outgoing:
    """Return a Dramatiq message for the publisher, with the properties that RabbitMQ's pages show."""
    return Outgoing(
        exchange="",
        routing_key=message.queue_name,
        body=json.dumps(message.asdict(), separators=(",", ":")).encode(),
        message_id=message.message_id,
        type=message.actor_name,
    )


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    queue_name: str
    actor_name: str
    # At most the id of a run.
    args: list[Annotated[int, Field(ge=0, le=_MAX_ARGUMENT)]] = Field(max_length=1)
    kwargs: dict[str, Any] = Field(max_length=0)
    options: dict[str, Any] = Field(max_length=0)
    message_id: str = Field(max_length=255)
    message_timestamp: int


def read_envelope(body: bytes, queue_name: str, actor_names: Collection[str]) -> Message[Any]:
    """Return the message in `body` for one of our actors.

    Raises:
        BadEnvelopeError: It is malformed, for another queue, or for an actor that is not declared here.
    """
    try:
        envelope = _Envelope.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise BadEnvelopeError(f"{place}: {first['msg']}") from None
    except RecursionError:
        raise BadEnvelopeError("body: nested too deep") from None
    if envelope.queue_name != queue_name:
        raise BadEnvelopeError("queue_name: names another queue")
    if envelope.actor_name not in actor_names:
        raise BadEnvelopeError("actor_name: no such actor here")
    return Message(
        queue_name=envelope.queue_name,
        actor_name=envelope.actor_name,
        args=tuple(envelope.args),
        kwargs={},
        options={},
        message_id=envelope.message_id,
        message_timestamp=envelope.message_timestamp,
    )


def _parameters(url: str, name: str) -> pika.URLParameters:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = _HEARTBEAT_S
    parameters.blocked_connection_timeout = _CONNECT_S
    parameters.socket_timeout = _CONNECT_S
    parameters.stack_timeout = 2 * _CONNECT_S
    parameters.client_properties = {"connection_name": name}
    return parameters
