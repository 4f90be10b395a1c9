"""The parts of a worker by themselves: leases, reports, the relay, and the in-process transport."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from coordinator_house import House
from dramatiq import Message
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from actors.in_process import InProcessBroker, InProcessTransport, Replies
from actors.leases import HeldRuns, Leases
from actors.loop import Loop
from actors.relay import Relay, one_by_one
from actors.reports import Reporter
from db.journal import Journal
from db.runs import Report, claim
from db.schema import outbox, run_outputs, runs
from messages.commands import Answer, Command, CommandType, NoAnswerInTimeError, TransportUnavailableError
from statemachine.snapshot import LEASE_S
from statemachine.states import RunOutcome

OWNER = "worker/1"


def claimed(house: House, owner: str = OWNER) -> int:
    """Return a run that `owner` holds."""
    house.add_site("a")
    house.create()
    house.verb("apply")
    (run_id,) = house.queued()
    at = datetime.now(UTC)
    with house.database.write() as connection:
        assert claim(connection, Journal(at), run_id, owner, at)
    return run_id


def report(run_id: int) -> Report:
    """Return a report of success."""
    return Report(run_id=run_id, outcome=RunOutcome.SUCCEEDED, details="", facts={}, output=b"zz")


def away() -> None:
    """Stand for a store that does not answer."""
    raise OperationalError("BEGIN", {}, ConnectionError("gone"))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hands:
    """A worker's hands: what it holds, what it reports, what it was told to stop."""

    def __init__(self, *held: int) -> None:
        self.holding = set(held)
        self.reporting: set[int] = set()
        self.stopped: list[int] = []
        self.given_up: list[int] = []

    def runs(self) -> HeldRuns:
        """Return what the leases ask for."""
        return HeldRuns(
            held=lambda: frozenset(self.holding),
            pending=lambda: frozenset(self.reporting),
            cancel=lambda run_id, _: self.stopped.append(run_id),
            give_up=self.given_up.append,
        )


class TestLeases:
    def test_a_held_run_stays(self, house: House) -> None:
        """A renewal moves the lease and stops nothing."""
        run_id = claimed(house)
        before = house.rows(runs)[0]["lease_until"]
        hands = Hands(run_id)

        Leases(house.database, OWNER, hands.runs()).renew()

        assert ([], []) == (hands.stopped, hands.given_up)
        assert before < house.rows(runs)[0]["lease_until"]

    def test_a_run_that_was_taken_away_is_stopped(self, house: House) -> None:
        """A run that is no longer this worker's is stopped."""
        run_id = claimed(house, owner="other/1")
        hands = Hands(run_id)

        Leases(house.database, OWNER, hands.runs()).renew()

        assert [run_id] == hands.stopped

    def test_a_cancelled_run_is_stopped(self, house: House) -> None:
        """The renewal brings back what somebody wants stopped."""
        run_id = claimed(house)
        with house.database.write() as connection:
            connection.execute(runs.update().values(cancel_requested=True))
        hands = Hands(run_id)

        Leases(house.database, OWNER, hands.runs()).renew()

        assert [run_id] == hands.stopped

    def test_a_worker_that_cannot_renew_stops_its_runs(self, house: House) -> None:
        """After 30 s without a renewal the worker stops its runs, even while a renewal hangs, before the lease ends."""
        run_id = claimed(house)
        clock, hands = Clock(), Hands(run_id)
        leases = Leases(house.database, OWNER, hands.runs(), clock)
        leases.renew()
        seen = []
        for clock.now in (10.0, 30.0, 31.0):
            leases.watch()
            seen.append(list(hands.stopped))

        assert [[], [], [run_id]] == seen
        assert clock.now < LEASE_S

    def test_a_run_that_nobody_works_on_is_given_up(self, house: House) -> None:
        """A run of ours that nobody here works on at two renewals is reported lost: its claim was never heard of."""
        run_id = claimed(house)
        hands = Hands()
        leases = Leases(house.database, OWNER, hands.runs())
        seen = []
        for _ in range(2):
            leases.renew()
            seen.append(list(hands.given_up))

        assert [[], [run_id]] == seen

    @pytest.mark.parametrize("place", ["holding", "reporting"])
    def test_a_run_in_hand_is_never_given_up(self, house: House, place: str) -> None:
        """A run that is worked on, or whose report waits to be written, is not given up."""
        run_id = claimed(house)
        hands = Hands()
        getattr(hands, place).add(run_id)
        leases = Leases(house.database, OWNER, hands.runs())
        for _ in range(3):
            leases.renew()

        assert [] == hands.given_up


class TestReporter:
    def test_a_report_is_written_and_the_coordinator_called(self, house: House) -> None:
        """A report finishes its run, keeps its output, and calls the coordinator."""
        run_id = claimed(house)
        woken: list[bool] = []
        reporter = Reporter(house.database, OWNER, lambda: woken.append(True))

        reporter.add(report(run_id))
        reporter.flush()

        row = house.rows(runs)[0]
        assert ("finished", "succeeded") == (row["state"], row["outcome"])
        assert ("coordinate", None) == house.messages()[-1]
        assert [True] == woken
        with house.database.read() as connection:
            assert b"zz" == connection.execute(run_outputs.select()).one().content

    def test_a_report_of_a_fenced_worker_is_dropped(self, house: House) -> None:
        """A report about a run that somebody else holds changes nothing."""
        run_id = claimed(house, owner="other/1")
        before = house.rows(runs)
        reporter = Reporter(house.database, OWNER, lambda: None)

        reporter.add(report(run_id))
        reporter.flush()

        assert before == house.rows(runs)
        assert ("coordinate", None) not in house.messages()

    def test_a_report_that_cannot_be_written_is_kept(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """While the store is away a report waits; it is written when the store is back."""
        run_id = claimed(house)
        reporter = Reporter(house.database, OWNER, lambda: None)
        reporter.add(report(run_id))
        monkeypatch.setattr(house.database, "write", away)
        with pytest.raises(OperationalError):
            reporter.flush()
        monkeypatch.undo()
        assert frozenset({run_id}) == reporter.pending()

        reporter.flush()

        assert "finished" == house.rows(runs)[0]["state"]

    def test_one_unwritable_report_does_not_hold_up_the_others(self, house: House) -> None:
        """A report that the store refuses ends its run as failed; the one behind it is written as it is."""
        house.add_site("a")
        house.add_site("b")
        house.create()
        house.verb("apply")
        first, second = house.queued()
        at = datetime.now(UTC)
        with house.database.write() as connection:
            for run_id in (first, second):
                assert claim(connection, Journal(at), run_id, OWNER, at)
        bad = Report(run_id=first, outcome=RunOutcome.SUCCEEDED, details="\ud800", facts={})
        reporter = Reporter(house.database, OWNER, lambda: None)

        reporter.add(bad)
        reporter.add(report(second))
        reporter.flush()

        assert [("failed", "The result of the run could not be stored."), ("succeeded", "")] == [
            (row["outcome"], row["details"]) for row in house.rows(runs)
        ]
        assert frozenset() == reporter.pending()

    def test_two_flushes_at_once_lose_nothing(self, house: House) -> None:
        """A stopping service flushes while the loop still writes: every report is written."""
        for place in range(20):
            house.add_site(f"s{place:02}")
        house.create(**{"max-parallel-subclouds": 20})
        house.verb("apply")
        at = datetime.now(UTC)
        mine = house.queued()
        with house.database.write() as connection:
            for run_id in mine:
                assert claim(connection, Journal(at), run_id, OWNER, at)
        reporter = Reporter(house.database, OWNER, lambda: None)
        loop = Loop("reports", reporter.flush, interval_s=5)
        reporter.wake = loop.wake
        loop.start()
        with ThreadPoolExecutor(4) as pool:
            for run_id in mine:
                pool.submit(reporter.add, report(run_id))
                pool.submit(reporter.flush)
        loop.stop()
        reporter.flush()

        assert {"finished"} == {row["state"] for row in house.rows(runs)}


class TestRelay:
    def test_what_was_published_is_forgotten(self, house: House) -> None:
        """The relay publishes in order, says the same thing once, and empties the outbox."""
        said: list[tuple[str, int | None]] = []
        journal = Journal(datetime.now(UTC))
        journal.call("coordinate")
        journal.call("stage_content", [7])
        journal.call("coordinate")
        with house.database.write() as connection:
            journal.write(connection)

        Relay(house.database, one_by_one(lambda actor, argument: said.append((actor, argument)))).relay()

        assert [("coordinate", None), ("stage_content", 7)] == said
        assert [] == house.rows(outbox)

    def test_what_could_not_be_published_stays(self, house: House) -> None:
        """A publish that fails leaves the outbox as it was: it is tried again."""
        journal = Journal(datetime.now(UTC))
        journal.call("coordinate")
        with house.database.write() as connection:
            journal.write(connection)

        def broken(actor: str, argument: int | None) -> None:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            Relay(house.database, one_by_one(broken)).relay()

        assert [("coordinate", None)] == house.messages()

    def test_a_row_of_another_version_does_not_stop_it(self, house: House) -> None:
        """A call of an actor that nobody knows is dropped; the calls behind it are published."""
        said: list[str] = []
        journal = Journal(datetime.now(UTC))
        journal.call("from_the_future")
        journal.call("coordinate")
        with house.database.write() as connection:
            journal.write(connection)

        def publish(actor: str, _: int | None) -> None:
            {"coordinate": said.append}[actor](actor)

        Relay(house.database, one_by_one(publish)).relay()

        assert ["coordinate"] == said
        assert [] == house.messages()

    def test_a_large_outbox_is_emptied_in_batches(self, house: House) -> None:
        """More than one batch of messages is published whole."""
        said: list[int | None] = []
        journal = Journal(datetime.now(UTC))
        journal.call("stage_content", range(1, 1201))
        with house.database.write() as connection:
            journal.write(connection)

        Relay(house.database, one_by_one(lambda _, argument: said.append(argument))).relay()

        assert list(range(1, 1201)) == said

    @pytest.mark.parametrize(("aside_s", "expected"), [(0.0, []), (-60.0, [7]), (60.0, [7])])
    def test_what_another_process_wrote(self, house: House, aside_s: float, expected: list[int]) -> None:
        """A relay says at once what its own process wrote; of another's only what was left lying.

        A time that is still to come tells of a clock that was set back: that is not waited for.
        """
        said: list[int | None] = []
        for writer, argument in (("mine", 1), ("other", 7)):
            journal = Journal(datetime.now(UTC), writer)
            journal.call("stage_content", [argument])
            with house.database.write() as connection:
                journal.write(connection)
        relay = Relay(house.database, one_by_one(lambda _, argument: said.append(argument)), "mine")

        relay.relay()
        with house.database.write() as connection:
            connection.execute(update(outbox).values(written_at=outbox.c.written_at + aside_s))
        relay.relay()

        assert [1, *expected] == said
        assert [("stage_content", 7)] * (not expected) == house.messages()


class TestInProcessTransport:
    def command(self) -> Command:
        """Return some command."""
        return Command(type=CommandType.GROUP_DELETE, subject="g")

    async def test_the_answer_comes_back(self) -> None:
        """The caller gets the answer that is delivered for its command."""
        replies = Replies()
        answer = Answer(status=200, body="done")
        transport = InProcessTransport(lambda command: replies.deliver(command.id, answer), replies, 5)

        assert answer == await transport.request(self.command())

    async def test_no_answer_in_time_is_told(self) -> None:
        """Without an answer the caller is told after the time it waits; a late answer harms nobody."""
        replies = Replies()
        transport = InProcessTransport(lambda _: None, replies, 0.05)
        command = self.command()

        with pytest.raises(NoAnswerInTimeError):
            await transport.request(command)
        replies.deliver(command.id, Answer(status=200))

    async def test_too_many_callers_are_turned_away(self) -> None:
        """When a thousand commands wait, the next caller is told to come back; the others still wait."""
        replies = Replies()
        transport = InProcessTransport(lambda _: None, replies, 5)
        waiting = [asyncio.ensure_future(transport.request(self.command())) for _ in range(1000)]
        await asyncio.sleep(0)

        with pytest.raises(TransportUnavailableError):
            await transport.request(self.command())
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def test_two_callers_of_one_command_both_get_the_answer(self) -> None:
        """The same command sent twice at once is answered to both callers."""
        replies = Replies()
        transport = InProcessTransport(lambda _: None, replies, 5)
        command = self.command()
        both = [asyncio.ensure_future(transport.request(command)) for _ in range(2)]
        await asyncio.sleep(0)

        replies.deliver(command.id, Answer(status=200))

        assert [200, 200] == [answer.status for answer in await asyncio.gather(*both)]


class TestInProcessBroker:
    @pytest.fixture
    def broker(self) -> Iterator[InProcessBroker]:
        """Give a broker with one queue."""
        broker = InProcessBroker()
        broker.declare_queue("q")
        yield broker
        broker.close()

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


class TestLoop:
    def test_an_exception_does_not_end_it(self, tmp_path: Path) -> None:
        """A loop whose work fails goes on at the next wake."""
        again, calls = Event(), list[int]()

        def work() -> None:
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("first")
            again.set()

        loop = Loop("test", work, interval_s=0.05)
        loop.start()

        assert again.wait(5)
        loop.stop()
        loop.stop()
