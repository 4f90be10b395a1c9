"""A virtual host of RabbitMQ to look into, and a foreign publisher of commands."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.amqp.publisher import Publisher
from broker.amqp.topology import QUEUES, dead_letters_of
from messages.commands import Answer
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.tcp_proxy import HOST
from tests.support.waiting import PATIENCE_S, wait_for

TYPE = "io.prestager.command."

T = TypeVar("T")


@dataclass(frozen=True)
class VirtualHost:
    """One virtual host with our topology; the port may be that of a proxy."""

    server: RabbitmqServer
    name: str

    def outsider(self, *, configure: str = ".*", write: str = ".*", read: str = ".*") -> tuple[str, str]:
        """Return a new user with these rights in this virtual host, and its address."""
        user, password = f"out-{secrets.token_hex(4)}", secrets.token_hex(12)
        self.server.console.add_user(user, password)
        self.server.console.permit(self.name, user, configure, write, read)
        return user, self.url_of(user, password)

    def url_of(self, user: str, password: str, port: int | None = None) -> str:
        """Return its address for a user."""
        return f"amqp://{user}:{password}@{HOST}:{port or self.server.port}/{self.name}"

    def url(self, port: int | None = None) -> str:
        """Return its address with the administrator's password."""
        return self.url_of(self.server.user, self.server.password, port)

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """Give a channel that confirms."""
        with pika.BlockingConnection(pika.URLParameters(self.url())) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel

    def put(self, queue: str, *bodies: bytes, **properties: Any) -> None:
        """Put messages into a queue as bytes."""
        with self.channel() as channel:
            for body in bodies:
                channel.basic_publish("", queue, body, pika.BasicProperties(**properties), mandatory=True)

    def count(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def consumers(self, queue: str) -> int:
        """Return how many consumers a queue has; 0 without a queue."""
        with suppress(ChannelClosedByBroker), self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.consumer_count)
        return 0

    def await_count(self, queue: str, count: int) -> None:
        """Wait until so many messages wait in a queue."""
        wait_for(lambda: self.count(queue) == count)

    def take(self, queue: str, count: int) -> list[tuple[pika.BasicProperties, bytes]]:
        """Take so many messages from a queue."""
        wait_for(lambda: self.count(queue) >= count, story=lambda: f"{self.count(queue)} in {queue}")
        taken = []
        with self.channel() as channel:
            for _ in range(count):
                method, properties, body = channel.basic_get(queue)
                assert method is not None
                channel.basic_ack(method.delivery_tag)
                taken.append((properties, body))
        return taken

    def dead_letters(self, queue: str, count: int) -> list[tuple[pika.BasicProperties, bytes]]:
        """Take so many dead letters of a queue."""
        return self.take(dead_letters_of(queue), count)

    def declare(self) -> None:
        """Make what is missing of the topology."""
        publisher = Publisher(self.url(), "test topology")
        publisher.start()
        publisher.declare()
        publisher.stop()

    def purge(self) -> None:
        """Empty every queue."""
        with self.channel() as channel:
            for queue in QUEUES:
                channel.queue_purge(queue.name)

    def clear(self) -> None:
        """Make the topology and empty it."""
        self.declare()
        self.purge()


@contextmanager
def new_virtual_host(server: RabbitmqServer) -> Iterator[VirtualHost]:
    """Give a virtual host of its own."""
    name = f"test-{secrets.token_hex(4)}"
    server.console.add_vhost(name, server.user)
    host = VirtualHost(server, name)
    host.clear()
    yield host
    server.console.delete_vhost(name)


def command_event(kind: str, event_id: str = "1", source: str = "/test", **data: Any) -> dict[str, Any]:
    """Return a command as a foreign publisher sends it."""
    return {"specversion": "1.0", "id": event_id, "source": source, "type": TYPE + kind, "data": {"request": data}}


def _key(document: dict[str, Any] | bytes) -> str:
    return "any.key" if isinstance(document, bytes) else str(document.get("type", "")).removeprefix(TYPE)


class Requester:
    """Sends raw commands to the exchange as a user of its own and reads the answers from a queue of its own."""

    def __init__(self, host: VirtualHost) -> None:
        self.user, url = host.outsider()
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()
        self.queue = f"prestager.replies.{self.user}.{secrets.token_hex(4)}"
        self.channel.queue_declare(self.queue, exclusive=True)

    def send(self, document: dict[str, Any] | bytes, *, mark: str = "m", reply: bool = True, **more: Any) -> None:
        """Send a command."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        key = more.pop("key", None) or _key(document)
        given = {
            "reply_to": self.queue if reply else None,
            "correlation_id": mark,
            "user_id": self.user,
            **more,
        }
        self.channel.basic_publish("prestager.commands", key, body, pika.BasicProperties(**given), mandatory=True)

    def answer(self, deadline_s: float = PATIENCE_S) -> tuple[str, Answer]:
        """Return the next answer with its mark."""
        end = monotonic() + deadline_s
        while monotonic() < end:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if method is not None:
                return properties.correlation_id, Answer.model_validate_json(body)
            self._connection.process_data_events(time_limit=0.01)
        raise AssertionError(f"no answer within {deadline_s} s")

    def ask(self, document: dict[str, Any] | bytes, **more: Any) -> Answer:
        """Send a command and return its answer."""
        self.send(document, **more)
        return self.answer()[1]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
