"""Who acknowledges what: a delivery is settled on the connection it came by, and on no other."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from threading import Event

import dramatiq
import pika
import pytest
from dramatiq import Message, Worker
from dramatiq.errors import ConnectionClosed
from pika.spec import Basic

from broker.amqp.consumer import AmqpConsumer, Delivery
from broker.amqp.dramatiq_broker import PrestagerBroker
from broker.amqp.publisher import Publisher
from messages.queues import PREPARE
from tests.support.tcp_proxy import HOST, TcpProxy
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import PATIENCE_S, wait_for


def read(_: Basic.Deliver, __: pika.BasicProperties, body: bytes) -> Message[None]:
    """Take every body for the name of a message."""
    name = body.decode()
    return Message(queue_name=PREPARE, actor_name="work", args=(name,), kwargs={}, options={}, message_id=name)


@pytest.fixture
def consume(host: VirtualHost) -> Iterator[Callable[[], AmqpConsumer]]:
    """Give a function that makes a consumer; all are closed in the end."""
    made: list[AmqpConsumer] = []

    def make() -> AmqpConsumer:
        made.append(
            AmqpConsumer(
                pika.URLParameters(host.url()),
                PREPARE,
                prefetch=4,
                timeout_ms=50,
                read=read,
                has_room=lambda: True,
            )
        )
        return made[-1]

    yield make
    for consumer in made:
        consumer.close()


def receive(consumer: AmqpConsumer) -> Delivery:
    """Return the next delivery."""
    return wait_for(lambda: next(consumer))


def left(host: VirtualHost) -> int:
    """Return how many messages are in the queue, delivered or not, once nobody consumes it."""
    with host.channel() as channel:
        return int(channel.queue_declare(PREPARE, passive=True).method.message_count)


def test_a_stranger_is_never_acknowledged(host: VirtualHost, consume: Callable[[], AmqpConsumer]) -> None:
    """A delivery of an earlier connection, settled late, does not settle the one that has its number now."""
    host.put(PREPARE, b"A")
    first = consume()
    old = receive(first)
    first._connection.close()
    second = consume()
    again = receive(second)
    assert (old.tag, old.message_id) == (again.tag, again.message_id)

    # Whichever end of work comes late, on whichever consumer Dramatiq then has.
    second.ack(old)
    second.nack(old)
    first.ack(old)
    second.close()

    third = consume()
    assert "A" == receive(third).message_id
    third.close()
    wait_for(lambda: left(host) == 1)
    assert 0 == host.count(f"{PREPARE}.XQ")


def test_its_own_deliveries_are_settled(host: VirtualHost, consume: Callable[[], AmqpConsumer]) -> None:
    """What a consumer delivered itself is acknowledged, or becomes a dead letter, even when it closes at once."""
    host.put(PREPARE, b"A", b"B", b"C")
    consumer = consume()
    first, second, _third = receive(consumer), receive(consumer), receive(consumer)

    consumer.ack(first)
    consumer.nack(second)
    consumer.close()

    wait_for(lambda: left(host) == 1)
    assert [b"B"] == [body for _, body in host.dead_letters(PREPARE, 1)]
    assert "C" == receive(consume()).message_id


def test_a_cut_connection_loses_nothing(host: VirtualHost) -> None:
    """The connection is cut while A is worked on, B arrives, A ends, the worker dies: B is not lost."""
    begun, may_end = Event(), Event()
    seen: list[str] = []

    def work(name: str) -> None:
        seen.append(name)
        begun.set()
        if name == "A":
            may_end.wait(PATIENCE_S)
        elif len(seen) < 4:
            # Still at work when the worker dies.
            died.wait(PATIENCE_S)

    died = Event()
    with TcpProxy(host.server.port) as proxy:
        publisher = Publisher(host.url(), "test")
        publisher.start()
        broker = PrestagerBroker(host.url(proxy.port), "test", publisher, lambda _broker, _queue: read)
        dramatiq.actor(actor_name="work", queue_name=PREPARE, broker=broker)(work)
        worker = Worker(broker, worker_threads=3, worker_timeout=100)
        worker.start()
        host.put(PREPARE, b"A")
        assert begun.wait(PATIENCE_S)
        proxy.reset()
        proxy.pass_on()
        host.put(PREPARE, b"B")
        # A comes again by the new connection, B for the first time.
        wait_for(lambda: sorted(seen) == ["A", "A", "B"])
        may_end.set()
        # Both ends of A have come: one by the dead connection, one by the living.
        wait_for(lambda: unacked(host) == 1)
        proxy.reset()
        wait_for(lambda: left(host) == 1)
        died.set()
        worker.stop(timeout=1000)
        publisher.stop()

    assert [b"B"] == [body for _, body in host.take(PREPARE, 1)]


def unacked(host: VirtualHost) -> int:
    """Return how many deliveries of the queue are not acknowledged."""
    return host.server.queues(host.name)[PREPARE].unacked_count


def test_a_broker_that_says_nothing() -> None:
    """A handshake that is never answered is a connection that was closed: Dramatiq tries again."""
    with socket.create_server((HOST, 0)) as silent:
        parameters = pika.ConnectionParameters(HOST, silent.getsockname()[1], stack_timeout=0.3)
        with pytest.raises(ConnectionClosed):
            AmqpConsumer(parameters, PREPARE, prefetch=1, timeout_ms=50, read=read, has_room=lambda: True)
