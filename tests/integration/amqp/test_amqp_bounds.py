"""Whatever becomes of the broker, nobody waits for it longer than its bound, and nobody is told what is not so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from time import monotonic

import pytest

from broker.amqp import command_transport as transport_module
from broker.amqp import publisher as publisher_module
from broker.amqp.command_transport import AmqpTransport
from broker.amqp.errors import PublishError
from broker.amqp.publisher import Outgoing, Publisher
from db.schema import commands
from messages.commands import Command, CommandType
from messages.errors import NoAnswerInTimeError, TransportUnavailableError
from messages.queues import COMMANDS, PREPARE
from service.roles import ProcessRole
from tests.support.installation import StartedInstallation
from tests.support.tcp_proxy import TcpProxy
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import BUSY_FACTOR, PATIENCE_S, wait_for

# The bound of these tests, which would else wait for minutes; tests/faults has the real one.
BOUND_S = 1.0
LONGEST_S = BOUND_S * BUSY_FACTOR
_ARRIVAL_S = 20.0
COORDINATOR = frozenset({ProcessRole.COORDINATOR})


@pytest.fixture(autouse=True)
def _bound(host: VirtualHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait for the broker, once the virtual host is ready, which may take longer."""
    del host
    for module in (publisher_module, transport_module):
        assert module.PUBLISH_S == 5.0
        monkeypatch.setattr(module, "PUBLISH_S", BOUND_S)


@pytest.fixture
def proxy(host: VirtualHost) -> Iterator[TcpProxy]:
    """Give what stands before the broker."""
    with TcpProxy(host.server.port) as proxy:
        yield proxy


@pytest.fixture
def publisher(host: VirtualHost, proxy: TcpProxy) -> Iterator[Publisher]:
    """Give a publisher that reaches the broker through the proxy."""
    made = Publisher(host.url(proxy.port), "test")
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def transport(host: VirtualHost, proxy: TcpProxy) -> AsyncIterator[AmqpTransport]:
    """Give a transport that reaches the broker through the proxy and waits long for answers."""
    made = AmqpTransport(host.url(proxy.port), name="test", source="/test", timeout_s=PATIENCE_S)
    yield made
    await made.close()


def outgoing(name: str, queue: str = PREPARE) -> Outgoing:
    """Return some message."""
    return Outgoing(exchange="", routing_key=queue, body=name.encode(), message_id=name, type="test")


def refused_after(publisher: Publisher, name: str) -> float:
    """Return how long a publish that fails took, in seconds."""
    began = monotonic()
    with pytest.raises(PublishError):
        publisher.publish([outgoing(name)])
    return monotonic() - began


def add_group(name: str = "edge") -> Command:
    """Return a command with an effect."""
    data = {"name": name, "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}
    return Command(type=CommandType.GROUP_CREATE, data=data)


async def status_after_alarm(transport: AmqpTransport, command: Command) -> int:
    """Return the status of a command that is sent until the broker has said that its alarm is over."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return (await transport.request(command)).status
            except TransportUnavailableError:
                await asyncio.sleep(0.05)


def publishes(publisher: Publisher, name: str) -> bool:
    """Tell whether a message was taken."""
    try:
        publisher.publish([outgoing(name)])
    except PublishError:
        return False
    return True


class TestPublisher:
    def test_a_partition(self, host: VirtualHost, proxy: TcpProxy, publisher: Publisher) -> None:
        """While bytes vanish every publish of every thread fails within the bound; afterwards publishing goes on."""
        publisher.publish([outgoing("before")])
        proxy.swallow()

        with ThreadPoolExecutor(4) as pool:
            took = list(pool.map(lambda place: refused_after(publisher, f"lost{place}"), range(4)))
        proxy.pass_on()
        publisher.publish([outgoing("after")])

        assert max(took) < LONGEST_S
        bodies = {body for _, body in host.take(PREPARE, 2)}
        assert b"before" in bodies

    def test_readiness_asks_the_broker(self, proxy: TcpProxy, publisher: Publisher) -> None:
        """Though the connection stands, a broker that does not answer is told within the bound; so is one that does."""
        publisher.publish([outgoing("before")])
        well = publisher.unavailable_reason()
        proxy.swallow()
        began = monotonic()
        told = publisher.unavailable_reason()
        took = monotonic() - began
        proxy.pass_on()

        assert well is None
        assert "does not answer within 1 s" in (told or "")
        assert took < LONGEST_S
        wait_for(lambda: publisher.unavailable_reason() is None)

    def test_one_after_another(self, proxy: TcpProxy, publisher: Publisher) -> None:
        """Who publishes on a connection that another one's failure ends is told in the same way."""
        publisher.publish([outgoing("before")])
        proxy.swallow()
        pause = Event()

        def later(place: float) -> float:
            pause.wait(place)
            return refused_after(publisher, f"lost{place}")

        with ThreadPoolExecutor(2) as pool:
            took = list(pool.map(later, (0, 0.5)))

        assert max(took) < LONGEST_S

    def test_a_memory_alarm(self, host: VirtualHost, publisher: Publisher) -> None:
        """While the broker takes nothing in a publish fails within the bound; afterwards publishing goes on."""
        publisher.publish([outgoing("before")])
        host.server.set_memory_alarm(True)
        try:
            took = refused_after(publisher, "lost")
        finally:
            host.server.set_memory_alarm(False)

        assert took < LONGEST_S
        wait_for(lambda: publishes(publisher, "after"))

    @pytest.mark.parametrize("trouble", ["reset", "trickle"])
    def test_other_trouble(self, proxy: TcpProxy, publisher: Publisher, trouble: str) -> None:
        """A broker that is gone, or sends a byte a second, is told within the bound; afterwards publishing goes on."""
        getattr(proxy, trouble)()
        took = refused_after(publisher, "lost")
        proxy.pass_on()
        publisher.publish([outgoing("after")])

        assert took < LONGEST_S

    def test_a_slow_network_only_takes_longer(self, proxy: TcpProxy, publisher: Publisher) -> None:
        """With 20 ms each way everything is confirmed."""
        proxy.delay(20)

        publisher.publish([outgoing(str(place)) for place in range(50)])

    def test_what_no_queue_takes_is_an_error(self, host: VirtualHost, publisher: Publisher) -> None:
        """A message that cannot be routed is refused; those beside it may have arrived; the connection goes on."""
        with pytest.raises(PublishError, match="has no queue for it"):
            publisher.publish([outgoing("good"), outgoing("bad", queue="nowhere")])
        publisher.publish([outgoing("next")])

        assert b"next" in {body for _, body in host.take(PREPARE, 2)}

    def test_stopping_is_bounded_and_repeatable(self, proxy: TcpProxy, publisher: Publisher) -> None:
        """A publisher stops within the bound though the broker does not answer, and stopping again is nothing."""
        publisher.publish([outgoing("before")])
        proxy.swallow()
        began = monotonic()
        publisher.stop()
        publisher.stop()

        assert monotonic() - began < LONGEST_S


class TestTransport:
    async def test_a_memory_alarm(
        self, host: VirtualHost, transport: AmqpTransport, start: Callable[..., StartedInstallation]
    ) -> None:
        """The first request of an alarm may still be carried out; once the broker has spoken the next ones never left.

        When the alarm is over, requests are answered again.
        """
        start(roles=COORDINATOR)
        await transport.request(add_group("before"))
        host.server.set_memory_alarm(True)
        try:
            with pytest.raises(NoAnswerInTimeError):
                await transport.request(add_group("first"))
            began = monotonic()
            with pytest.raises(TransportUnavailableError):
                await transport.request(add_group("second"))
            took = monotonic() - began
        finally:
            host.server.set_memory_alarm(False)

        assert took < BOUND_S
        assert 200 == await status_after_alarm(transport, add_group("after"))

    async def test_a_broker_that_is_gone(self, proxy: TcpProxy, transport: AmqpTransport) -> None:
        """Without a connection nothing was handed over, and the caller is told so at once."""
        proxy.reset()
        began = monotonic()
        with pytest.raises(TransportUnavailableError):
            await transport.request(add_group())

        assert monotonic() - began < LONGEST_S

    async def test_a_broker_that_never_answers(self, proxy: TcpProxy, transport: AmqpTransport) -> None:
        """When no connection comes about nothing was handed over, and the caller is told so within the bound."""
        proxy.swallow()
        began = monotonic()
        with pytest.raises(TransportUnavailableError):
            await transport.request(add_group())

        assert monotonic() - began < LONGEST_S

    async def test_a_partition_after_the_command_left(
        self, start: Callable[..., StartedInstallation], proxy: TcpProxy, transport: AmqpTransport
    ) -> None:
        """A command whose bytes left may still arrive: the caller is not told that nothing was changed."""
        installation = await asyncio.to_thread(start, roles=COORDINATOR)

        async def ask(name: str, after_s: float) -> float:
            await asyncio.sleep(after_s)
            began = monotonic()
            with pytest.raises(NoAnswerInTimeError):
                await transport.request(add_group(name))
            return monotonic() - began

        async def arrives(number: int) -> bool:
            """Return whether a command arrives that left while the network was parted."""
            assert (await transport.request(add_group(f"before-{number}"))).status == 200
            known = len(installation.rows(commands))
            proxy.swallow()
            # The later one loses its connection by the failure of the first.
            took = await asyncio.gather(ask(f"first-{number}", 0), ask(f"second-{number}", 0.5))
            proxy.pass_on()
            assert max(took) < LONGEST_S
            with suppress(AssertionError):
                await asyncio.to_thread(wait_for, lambda: len(installation.rows(commands)) > known, _ARRIVAL_S)
            return len(installation.rows(commands)) > known

        # A broker may end a connection that broke before it has read all that came by it; hardly three times.
        arrived = await arrives(0) or await arrives(1) or await arrives(2)
        assert arrived, "no command arrived that had left"
        assert (await transport.request(add_group("after"))).status == 200

    async def test_a_command_that_expired_never_runs(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], transport: AmqpTransport
    ) -> None:
        """A command that waited in the queue longer than its caller becomes a dead letter and is never carried out."""
        transport._timeout_s = 0.3
        with pytest.raises(NoAnswerInTimeError):
            await transport.request(add_group())

        ((properties, _),) = await asyncio.to_thread(host.dead_letters, COMMANDS, 1)
        installation = await asyncio.to_thread(start, roles=COORDINATOR)
        transport._timeout_s = PATIENCE_S
        answer = await transport.request(add_group("other"))

        assert "expired" == properties.headers["x-first-death-reason"]
        assert 200 == answer.status
        assert 1 == len(installation.rows(commands))
