"""The in-process transport and broker, and the loop of every thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from unittest.mock import Mock

import pytest
from dramatiq import Message

from actors.actors import Actors
from actors.coordinator.coordinator import Coordinator
from broker.in_process import InProcessBroker, InProcessTransport, Replies
from db.schema import events
from messages.commands import Answer, Command, CommandType
from messages.errors import NoAnswerInTimeError, TransportUnavailableError
from messages.queues import COORDINATOR, Call
from service.periodic_thread import PeriodicThread
from tests.support.installation import StartedInstallation
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def broker() -> Iterator[InProcessBroker]:
    """Give a broker with one queue."""
    broker = InProcessBroker()
    broker.declare_queue("q")
    yield broker
    broker.close()


class TestInProcessTransport:
    def command(self) -> Command:
        """Return some command."""
        return Command(type=CommandType.GROUP_DELETE, subject="g")

    async def test_the_answer_comes_back(self) -> None:
        """The caller gets the answer that is delivered for its request."""
        replies = Replies()
        answer = Answer(status=200, body="done")
        transport = InProcessTransport(lambda _, request_id: replies.deliver(request_id, answer), replies, 5)

        assert answer == await transport.request(self.command())

    async def test_no_answer_in_time_is_told(self) -> None:
        """Without an answer the caller is told after the time it waits; a late answer goes to no later request."""
        replies = Replies()
        sent: list[str] = []
        transport = InProcessTransport(lambda _, request_id: sent.append(request_id), replies, 0.05)
        command = self.command()

        with pytest.raises(NoAnswerInTimeError):
            await transport.request(command)
        repeat = asyncio.ensure_future(transport.request(command))
        await asyncio.sleep(0)
        replies.deliver(sent[0], Answer(status=200))
        replies.deliver(sent[1], Answer(status=409))

        assert 409 == (await repeat).status

    async def test_too_many_callers_are_turned_away(self) -> None:
        """When a thousand requests wait, of one command too, the next caller is told to come back."""
        replies = Replies()
        transport = InProcessTransport(lambda *_: None, replies, 5)
        command = self.command()
        waiting = [asyncio.ensure_future(transport.request(command)) for _ in range(1000)]
        await asyncio.sleep(0)

        with pytest.raises(TransportUnavailableError):
            await transport.request(self.command())
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def test_each_request_of_one_command_gets_its_own_answer(self) -> None:
        """Requests under one command id are answered one by one, in whatever order their answers come."""
        replies = Replies()
        sent: list[str] = []
        transport = InProcessTransport(lambda _, request_id: sent.append(request_id), replies, 5)
        command = self.command()
        both = [asyncio.ensure_future(transport.request(command)) for _ in range(2)]
        await asyncio.sleep(0)

        replies.deliver(sent[1], Answer(status=409))
        replies.deliver(sent[0], Answer(status=200))

        assert [200, 409] == [answer.status for answer in await asyncio.gather(*both)]


class TestInProcessBroker:
    def test_dead_letters_are_bounded(self, broker: InProcessBroker) -> None:
        """Only the last hundred dead letters are kept."""
        consumer = broker.consume("q", prefetch=1, timeout=100)
        for place in range(150):
            message = Message(queue_name="q", actor_name="a", args=(place,), kwargs={}, options={})
            broker.enqueue(message)
            proxy = next(consumer)
            assert proxy is not None
            consumer.nack(proxy)

        kept = broker.dead_letters_by_queue["q"]
        assert (100, 149) == (len(kept), kept[-1].args[0])

    def test_an_unreadable_message_does_not_stop_the_queue(self, broker: InProcessBroker) -> None:
        """A body that cannot be read is dropped; the next message is served."""
        consumer = broker.consume("q", prefetch=1, timeout=100)
        broker.queues["q"].put(b"\xff not a message")
        broker.enqueue(Message(queue_name="q", actor_name="a", args=(1,), kwargs={}, options={}))

        served = [next(consumer), next(consumer)]

        assert [None, (1,)] == [one and one.args for one in served]


class TestCallsOfTheCoordinator:
    def test_one_is_on_the_queue_until_it_is_taken(self, broker: InProcessBroker) -> None:
        """A call of the coordinator is not sent while another waits to be taken; once that is taken it is."""
        coordinator = Mock(spec=Coordinator)
        actors = Actors(broker)
        actors.declare_coordinator(coordinator, Mock())
        queue = broker.queues[COORDINATOR]
        actors.publish(Call("coordinate"))
        actors.publish(Call("coordinate"))
        waiting_count = queue.qsize()
        sent_meanwhile: list[int] = []

        def coordinate() -> None:
            actors.publish(Call("coordinate"))
            sent_meanwhile.append(queue.qsize())

        coordinator.coordinate = coordinate
        queue.get()
        broker.get_actor("coordinate")()

        assert 1 == waiting_count
        assert [1] == sent_meanwhile


class TestLoop:
    def test_an_exception_does_not_end_it(self, tmp_path: Path) -> None:
        """A loop whose work fails goes on at the next wake."""
        again, calls = Event(), list[int]()

        def work() -> None:
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("first")
            again.set()

        loop = PeriodicThread("test", work, interval_s=0.05)
        loop.start()

        assert again.wait(PATIENCE_S)
        loop.stop()
        loop.stop()


def test_without_a_broker_no_event_waits_for_one(build: Callable[..., StartedInstallation]) -> None:
    """Nobody is to be told by an exchange: no event waits to be published, and none that an older program left does.

    A broker that is set up later would else be flooded with all history.
    """
    installation = build()
    installation.add_site("a")
    installation.create()
    told = installation.rows(events)
    with installation.database.write() as connection:
        connection.execute(events.update().values(published=False))
    installation.stop()
    again = build()

    assert told
    assert {True} == {row["published"] for row in told}
    assert [] == again.rows(events, published=False)
