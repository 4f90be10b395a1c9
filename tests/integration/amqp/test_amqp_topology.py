"""Queues and exchanges as they are declared."""

from __future__ import annotations

import pytest

from broker.amqp.errors import PublishError
from broker.amqp.publisher import Publisher
from broker.amqp.topology import QUEUES
from messages.queues import COMMANDS, COORDINATOR
from tests.support.virtual_host import TYPE, VirtualHost
from tests.support.waiting import PATIENCE_S, wait_for


class TestTopology:
    def test_the_queues_are_as_declared(self, host: VirtualHost) -> None:
        """Every queue is a quorum queue with exactly the arguments of the topology; declaring it again is nothing."""
        host.clear()
        found = {row["name"]: row for row in host.server.console.queues(host.name)}

        for spec in QUEUES:
            row = found[spec.name]
            assert dict(spec.arguments) == row["arguments"]
            assert ("quorum", True) == (spec.arguments["x-queue-type"], row["durable"])
        assert {spec.name for spec in QUEUES} == set(found)

    def test_every_work_queue_has_dead_letters(self, host: VirtualHost) -> None:
        """A message that is rejected arrives in the dead letters of its queue."""
        for spec in QUEUES:
            if spec.name.endswith(".XQ"):
                continue
            host.put(spec.name, b"x")
            with host.channel() as channel:
                method, _, _ = next(channel.consume(spec.name, inactivity_timeout=PATIENCE_S))
                assert method is not None
                channel.basic_nack(method.delivery_tag, requeue=False)
            assert 1 == len(host.dead_letters(spec.name, 1))

    @pytest.mark.parametrize("queue", [COMMANDS, COORDINATOR])
    def test_one_consumer_at_a_time(self, host: VirtualHost, queue: str) -> None:
        """Of two consumers one gets everything, in order; when it goes the other goes on."""
        host.put(queue, b"1", b"2")
        with host.channel() as first, host.channel() as second:
            one = first.consume(queue, inactivity_timeout=PATIENCE_S)
            method, _, body = next(one)
            two = second.consume(queue, inactivity_timeout=0.2)
            assert (b"1", (None, None, None)) == (body, next(two))
            assert method is not None
            first.basic_ack(method.delivery_tag)
            assert b"2" == next(one)[2]
            # Whatever it had not settled goes to the other.
            first.close()
            wait_for(lambda: next(two)[2] == b"2")

    def test_a_different_queue_is_not_taken_for_ours(self, host: VirtualHost) -> None:
        """A queue of the same name with other arguments is a fault that is told, and other queues are untouched."""
        with host.channel() as channel:
            channel.queue_delete("prestager.prepare")
            channel.queue_declare("prestager.prepare", durable=True)
        publisher = Publisher(host.url(), "test")
        publisher.start()
        try:
            with pytest.raises(PublishError):
                publisher.declare()
        finally:
            with host.channel() as channel:
                channel.queue_delete("prestager.prepare")
        publisher.declare()
        publisher.stop()


def test_types_are_named_by_the_prefix() -> None:
    """The prefix of the types that publishers write is the documented one."""
    assert "io.prestager.command." == TYPE
