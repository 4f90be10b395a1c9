"""Dramatiq's RabbitMQ broker with our queues, our consumer and our publisher."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pika
from dramatiq import Consumer, Message
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from broker.amqp.consumer import AmqpConsumer, Reader
from broker.amqp.publisher import Outgoing, Publisher
from messages.queues import COMMANDS

_HEARTBEAT_S: Final = 30
_CONNECT_S: Final = 5


class PrestagerBroker(RabbitmqBroker):
    """A broker whose queues are quorum queues, whose publishes are confirmed, and which knows no delays.

    `reader_of(queue)` returns what reads that queue's bodies; `has_room(queue)` tells whether this process can take
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
        """Know a queue; the topology makes it. There is no delay queue: waiting is done in the database."""
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
    """Return a Dramatiq message as what is published, with the properties that RabbitMQ's pages show."""
    return Outgoing(
        exchange="",
        routing_key=message.queue_name,
        body=json.dumps(message.asdict(), separators=(",", ":")).encode(),
        message_id=message.message_id,
        type=message.actor_name,
    )


def _parameters(url: str, name: str) -> pika.URLParameters:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = _HEARTBEAT_S
    parameters.blocked_connection_timeout = _CONNECT_S
    parameters.socket_timeout = _CONNECT_S
    parameters.stack_timeout = 2 * _CONNECT_S
    parameters.client_properties = {"connection_name": name}
    return parameters
