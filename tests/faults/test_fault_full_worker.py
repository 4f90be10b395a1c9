"""A worker whose slots are all taken leaves messages in their queue, and holds none back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq import Message

from broker.amqp.dramatiq_broker import PrestagerBroker, outgoing, read_envelope
from broker.amqp.publisher import Publisher
from messages.queues import SUBCLOUDS
from tests.support.installation_processes import START_S
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

COUNT = 5


@pytest.fixture
def publisher(rabbitmq: StrictRabbitmq) -> Iterator[Publisher]:
    """Give a publisher to a broker with our queues."""
    publisher = Publisher(rabbitmq.url, "test publisher")
    publisher.start()
    publisher.declare()
    yield publisher
    publisher.stop()


def message(run_id: int) -> Message[None]:
    """Return a message about a run."""
    return Message(queue_name=SUBCLOUDS, actor_name="stage_content", args=(run_id,), kwargs={}, options={})


def test_a_full_worker_holds_no_delivery(rabbitmq: StrictRabbitmq, publisher: Publisher) -> None:
    """A worker without a free slot hands on what was delivered already and takes nothing; with one it goes on."""
    room = [True]
    broker = PrestagerBroker(
        rabbitmq.url,
        "test",
        publisher,
        reader_of=lambda _, queue: lambda _, __, body: read_envelope(body, queue, {"stage_content"}),
        has_room=lambda _: room[0],
    )
    consumer = broker.consume(SUBCLOUDS, prefetch=3, timeout=200)
    taken: list[int] = []

    def take() -> bool:
        delivery = next(consumer)
        if delivery is not None:
            taken.append(delivery.args[0])
            consumer.ack(delivery)
        return bool(taken)

    publisher.publish([outgoing(message(run_id)) for run_id in range(COUNT)])
    wait_for(take, START_S)
    room[0] = False

    def is_held_nowhere() -> bool:
        take()
        queue = rabbitmq.queues()[SUBCLOUDS]
        return queue.unacked_count == 0 and queue.ready_count == COUNT - len(taken) > 0 and queue.consumer_count == 0

    wait_for(is_held_nowhere, START_S)
    room[0] = True
    wait_for(lambda: take() and len(taken) == COUNT, START_S)

    assert list(range(COUNT)) == taken
    consumer.close()
