"""Events over RabbitMQ: in order, at least once, after the commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pika
import pytest

from broker.amqp.errors import PublishError
from broker.amqp.event_publisher import EventPublisher
from broker.amqp.publisher import Outgoing, Publisher
from broker.amqp.topology import EVENTS
from db.schema import events, strategies
from service.roles import ProcessRole
from tests.support.installation import StartedInstallation
from tests.support.virtual_host import Requester, VirtualHost
from tests.support.waiting import wait_for


class TestEvents:
    def listen(self, host: VirtualHost, requester: Requester) -> str:
        """Return a queue that gets every event."""
        queue: str = requester.channel.queue_declare("", exclusive=True).method.queue
        requester.channel.queue_bind(queue, EVENTS, "#")
        return queue

    def heard(self, requester: Requester, queue: str) -> list[tuple[pika.BasicProperties, bytes]]:
        """Return what has come to a queue."""
        found = []
        while (got := requester.channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append((got[1], got[2]))
        return found

    def test_numbered_and_in_order(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """Whoever listens hears every event of a strategy once, in the order of its numbers, as a CloudEvent."""
        queue = self.listen(host, requester)
        installation = start()
        installation.add_site("a")
        installation.create()
        installation.verb("apply")
        wait_for(lambda: installation.rows(strategies)[0]["state"] == "complete")
        wait_for(lambda: not installation.rows(events, published=False))
        documents = [json.loads(body) for _, body in self.heard(requester, queue)]

        rows = installation.rows(events)
        assert [str(row["id"]) for row in rows] == [document["id"] for document in documents]
        assert [f"io.prestager.event.{row['type']}" for row in rows] == [document["type"] for document in documents]
        assert {"1.0"} == {document["specversion"] for document in documents}
        assert {installation.process.messaging.source} == {document["source"] for document in documents}
        assert "io.prestager.event.strategy.prestage.complete" == documents[-1]["type"]

    def test_at_least_once(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """What was not confirmed is published again under the same number; what was is not."""
        queue = self.listen(host, requester)
        installation = start(roles=frozenset({ProcessRole.API}))
        with installation.database.write() as connection:
            for name in "ab":
                connection.execute(events.insert().values(**new_event(name)))
        publisher = Unconfirmed(host.url(), "test")
        publisher.start()
        told = EventPublisher(installation.database, publisher, "/here")

        with pytest.raises(PublishError):
            told.publish()
        waiting = len(installation.rows(events, published=False))
        publisher.broken = False
        told.publish()
        told.publish()
        publisher.stop()

        assert (2, 0) == (waiting, len(installation.rows(events, published=False)))
        # Once without a confirm, once with.
        assert ["1", "2", "1", "2"] == [properties.message_id for properties, _ in self.heard(requester, queue)]

    def test_nothing_is_told_before_the_commit(
        self, host: VirtualHost, start: Callable[..., StartedInstallation]
    ) -> None:
        """An event of a transaction that is not committed is not published; one that is rolled back never is."""
        installation = start(roles=frozenset({ProcessRole.API}))
        publisher = Unconfirmed(host.url(), "test", broken=False)
        publisher.start()
        told = EventPublisher(installation.database, publisher, "/here")
        connection = installation.database.writer_engine.connect()
        with connection.begin() as transaction:
            connection.execute(events.insert().values(**new_event("a")))
            told.publish()
            transaction.rollback()
        told.publish()
        connection.close()
        publisher.stop()

        assert [] == publisher.said


class Unconfirmed(Publisher):
    """Publishes, and says that it was not confirmed while it is broken."""

    def __init__(self, url: str, name: str, *, broken: bool = True) -> None:
        super().__init__(url, name)
        self.broken = broken
        self.said: list[Outgoing] = []

    def publish(self, messages: list[Outgoing]) -> None:  # type: ignore[override]
        self.said += messages
        super().publish(messages)
        if self.broken:
            raise PublishError("not confirmed")


def new_event(name: str) -> dict[str, object]:
    """Return an event that waits."""
    moment = datetime(2022, 3, 3, tzinfo=UTC)
    return {"type": f"test.{name}", "subject": name, "data": {}, "at": moment, "published": False}
