"""Exchanges and queues: made at the start and again when they were lost; meanwhile readiness says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pika.exceptions import ChannelClosedByBroker

from broker.amqp.publisher import Publisher
from broker.amqp.topology import EVENTS, QUEUES
from broker.amqp.topology_check import TopologyCheck
from messages.commands import Command, CommandType
from messages.errors import TransportUnavailableError
from messages.queues import COMMANDS, PREPARE, WORKER_QUEUES
from messages.queues import COORDINATOR as COORDINATOR_QUEUE
from service.roles import ProcessRole
from tests.support.installation import StartedInstallation
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

COORDINATOR = frozenset({ProcessRole.COORDINATOR})
API = frozenset({ProcessRole.API})


@pytest.fixture
def publisher(host: VirtualHost) -> Iterator[Publisher]:
    """Give a publisher."""
    made = Publisher(host.url(), "test")
    made.start()
    yield made
    made.stop()


def answers(installation: StartedInstallation) -> bool:
    """Tell whether a command reached the coordinator and was answered."""
    try:
        installation.execute(Command(type=CommandType.GROUP_DELETE, subject="none"))
    except TransportUnavailableError:
        return False
    return True


def outsider(host: VirtualHost) -> str:
    """Return the address for a new user who may do everything but configure."""
    return host.outsider(configure="")[1]


def broker_fault(installation: StartedInstallation) -> str | None:
    """Return what readiness says of the broker."""
    return installation.process.messaging.checks["broker"]()


def delete(host: VirtualHost, *queues: str) -> None:
    """Delete queues."""
    with host.channel() as channel:
        for queue in queues:
            channel.queue_delete(queue)


def test_deleted_queues_are_made_again(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """When RabbitMQ has lost its queues while Prestager runs, commands are answered again without a restart."""
    installation = start(roles=COORDINATOR)
    wait_for(lambda: answers(installation))
    delete(host, *(queue.name for queue in QUEUES))

    wait_for(lambda: answers(installation))
    wait_for(lambda: broker_fault(installation) is None)


def test_the_first_start_consumes_what_is_there(
    host: VirtualHost, start: Callable[..., StartedInstallation], caplog: pytest.LogCaptureFixture
) -> None:
    """On an empty broker each part reads its queues at once: none reads a queue before it is made, and fails for it."""
    delete(host, *(queue.name for queue in QUEUES))
    start()
    served = (COMMANDS, COORDINATOR_QUEUE, *WORKER_QUEUES)
    wait_for(lambda: all(consumers(host, queue) == 1 for queue in served))

    assert [] == [record.message for record in caplog.records if "connection error" in record.message]


def consumers(host: VirtualHost, queue: str) -> int:
    """Return how many consumers a queue has; none when it is not there."""
    with host.channel() as channel:
        try:
            return int(channel.queue_declare(queue, passive=True).method.consumer_count)
        except ChannelClosedByBroker:
            return 0


def test_the_topology_is_made_again_each_minute(host: VirtualHost, publisher: Publisher) -> None:
    """What is lost and missed by no consumer, such as an exchange, is there again within a minute."""
    now = [0.0]
    upkeep = TopologyCheck(publisher, lambda: now[0])
    upkeep.check()
    with host.channel() as channel:
        channel.exchange_delete(EVENTS)
    upkeep.check()
    with host.channel() as channel, pytest.raises(ChannelClosedByBroker):
        channel.exchange_declare(EVENTS, passive=True)
    now[0] = 60.0
    upkeep.check()

    with host.channel() as channel:
        channel.exchange_declare(EVENTS, passive=True)


def test_who_may_not_make_them(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """While a queue is missing that our user may not make, readiness says so; once it is there all is well."""
    delete(host, PREPARE)
    installation = start(roles=API, url=outsider(host))
    wait_for(lambda: "cannot be made" in (broker_fault(installation) or ""))
    told = broker_fault(installation) or ""
    host.clear()

    assert "its queues cannot be made: the broker refused: ACCESS_REFUSED" in told
    wait_for(lambda: broker_fault(installation) is None)


def test_a_queue_with_other_arguments(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """While a queue has other arguments than ours, readiness names it."""
    delete(host, COMMANDS)
    with host.channel() as channel:
        channel.queue_declare(COMMANDS, durable=True)
    try:
        installation = start(roles=API)
        wait_for(lambda: "cannot be made" in (broker_fault(installation) or ""))
        told = broker_fault(installation) or ""
    finally:
        delete(host, COMMANDS)

    assert "PRECONDITION_FAILED" in told
    assert COMMANDS in told
