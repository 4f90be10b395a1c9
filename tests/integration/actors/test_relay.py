"""The outbox relay by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from broker.outbox_relay import OutboxRelay
from db.schema import outbox
from db.unit_of_work import unit_of_work
from messages.queues import Call
from tests.support.installation import Installation
from tests.support.recording_publisher import RecordingPublisher
from tests.support.waiting import wait_for

COORDINATE = Call("coordinate")


class FakeClock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now_s


class RelayedProcess:
    """A process with its relay, whose `relay` the test calls in the place of a thread."""

    def __init__(self, installation: Installation, *, confirms: bool = True, writer: str = "mine") -> None:
        self.publisher = RecordingPublisher(confirms=confirms)
        self.clock = FakeClock()
        self.database = installation.database
        self.writer = writer
        self.relay = OutboxRelay(self.database, self.publisher.publish, writer, clock=self.clock)
        self.relay.relay()
        # The pause in which rows are collected is not the test's.
        self.relay.hurry()

    def commit(self, actor: str, *arguments: int) -> None:
        """Commit a transaction of this process with messages."""
        self.database.attach_relay(self.writer, self.relay.take)
        with unit_of_work(self.database) as work:
            work.enqueue(actor, arguments or (None,))

    def look(self) -> None:
        """Run the relay's work when its look into the outbox is due."""
        self.clock.now_s += 5.0
        self.relay.relay()


def statements(installation: Installation, verb: str) -> list[str]:
    """Return a list to which statements on the outbox that begin with `verb` are added."""
    found: list[str] = []

    @event.listens_for(installation.database.writer_engine, "before_cursor_execute")
    def _add(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith(verb) and "outbox" in statement:
            found.append(statement)

    return found


class TestHandedOver:
    def test_messages_are_published_at_the_commit(self, installation: Installation) -> None:
        """Messages are published in order as their transaction is committed, without a look into the outbox."""
        process = RelayedProcess(installation)
        selects = statements(installation, "SELECT")

        process.commit("stage_content", 3, 1, 2)

        assert [Call("stage_content", run_id) for run_id in (3, 1, 2)] == process.publisher.published
        assert [] == selects

    def test_a_repeat_in_one_transaction_is_sent_once(self, installation: Installation) -> None:
        """A transaction that says the same thing twice sends it once, and both rows are deleted."""
        process = RelayedProcess(installation)

        process.commit("stage_content", 7, 7)
        process.relay.relay()

        assert [Call("stage_content", 7)] == process.publisher.published
        assert [] == installation.messages()

    def test_confirmed_rows_are_deleted_together(self, installation: Installation) -> None:
        """Rows stay until their messages are confirmed, and are then deleted in one statement."""
        process = RelayedProcess(installation, confirms=False)
        deletes = statements(installation, "DELETE")
        process.commit("stage_content", 1, 2)
        process.commit("coordinate")
        process.relay.relay()
        kept = len(installation.messages())

        process.publisher.answer()
        process.relay.relay()

        assert 3 == kept
        assert [] == installation.messages()
        assert 1 == len(deletes)

    def test_a_look_leaves_messages_on_their_way(self, installation: Installation) -> None:
        """A look into the outbox does not publish again what is on its way."""
        process = RelayedProcess(installation, confirms=False)
        process.commit("stage_content", 1)

        process.look()

        assert [Call("stage_content", 1)] == process.publisher.published
        assert [("stage_content", 1)] == installation.messages()

    def test_what_was_not_confirmed_is_published_again(self, installation: Installation) -> None:
        """A message that is not confirmed keeps its row, and the next look publishes it, without its 5 s."""
        process = RelayedProcess(installation)
        process.publisher.error = ConnectionError()
        process.commit("stage_content", 1)
        with pytest.raises(ConnectionError):
            process.relay.relay()
        kept = installation.messages()

        process.publisher.error = None
        process.relay.relay()

        assert [("stage_content", 1)] == kept
        assert [Call("stage_content", 1)] * 3 == process.publisher.published
        assert [] == installation.messages()

    def test_a_publisher_that_raises_is_no_error_of_the_transaction(self, installation: Installation) -> None:
        """A commit succeeds though its messages cannot be given to the publisher; the next look publishes them."""
        process = RelayedProcess(installation)
        relay = OutboxRelay(installation.database, {}.__getitem__, "mine")
        installation.database.attach_relay("mine", relay.take)
        with unit_of_work(installation.database) as work:
            work.enqueue("coordinate")

        process.look()

        assert [COORDINATE] == process.publisher.published

    def test_nothing_is_sent_while_messages_are_left(self, installation: Installation) -> None:
        """While the broker is away messages stay in the outbox, and go out in the order of their rows afterwards."""
        process = RelayedProcess(installation)
        process.publisher.error = ConnectionError()
        process.commit("stage_content", 1)
        process.commit("stage_content", 2)
        process.commit("stage_content", 3)
        tried = len(process.publisher.published)

        process.publisher.error = None
        process.relay.relay()
        process.commit("stage_content", 4)

        assert 1 == tried
        assert [1, 2, 3, 4] == [call.argument for call in process.publisher.published[tried:]]

    def test_messages_in_memory_are_bounded(self, installation: Installation) -> None:
        """With two thousand messages on their way, more are left in the outbox and lost to none."""
        process = RelayedProcess(installation, confirms=False)
        process.commit("stage_content", *range(1, 2001))
        process.commit("stage_content", 2001)
        sent = len(process.publisher.published)
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(process.relay.relay)
            wait_for(lambda: len(process.publisher.published) > sent)
            process.publisher.answer()
            done.result()
        process.relay.hurry()
        process.relay.relay()

        assert 2000 == sent
        assert list(range(1, 2002)) == [call.argument for call in process.publisher.published]
        assert [] == installation.messages()

    def test_the_end_waits_for_what_is_on_its_way(self, installation: Installation) -> None:
        """A relay that stops waits for confirms and deletes the rows."""
        process = RelayedProcess(installation, confirms=False)
        process.commit("stage_content", 1)

        with ThreadPoolExecutor(1) as thread:
            stopped = thread.submit(process.relay.stop)
            process.publisher.answer()
            stopped.result()

        assert [] == installation.messages()


class TestLook:
    def test_what_was_published_is_forgotten(self, installation: Installation) -> None:
        """The relay publishes rows in order, says the same thing once, and empties the outbox."""
        publisher = RecordingPublisher()
        with unit_of_work(installation.database) as work:
            work.enqueue("coordinate")
            work.enqueue("stage_content", [7])
            work.enqueue("coordinate")

        OutboxRelay(installation.database, publisher.publish).relay()

        assert [COORDINATE, Call("stage_content", 7)] == publisher.published
        assert [] == installation.rows(outbox)

    def test_what_could_not_be_published_stays(self, installation: Installation) -> None:
        """A publish that fails leaves the outbox as it was: it is tried again."""
        publisher = RecordingPublisher()
        publisher.error = ConnectionError()
        with unit_of_work(installation.database) as work:
            work.enqueue("coordinate")

        with pytest.raises(ConnectionError):
            OutboxRelay(installation.database, publisher.publish).relay()

        assert [("coordinate", None)] == installation.messages()

    def test_a_row_of_another_version_does_not_stop_it(self, installation: Installation) -> None:
        """A call of an actor that is not known is dropped; the calls behind it are published."""
        publisher = RecordingPublisher()
        with unit_of_work(installation.database) as work:
            work.enqueue("from_the_future")
            work.enqueue("coordinate")

        OutboxRelay(installation.database, publisher.publish).relay()

        assert [COORDINATE] == publisher.published
        assert [] == installation.messages()

    def test_a_large_outbox_is_emptied_in_batches(self, installation: Installation) -> None:
        """More than one batch of messages is published whole."""
        publisher = RecordingPublisher()
        with unit_of_work(installation.database) as work:
            work.enqueue("stage_content", range(1, 1201))

        OutboxRelay(installation.database, publisher.publish).relay()

        assert list(range(1, 1201)) == [call.argument for call in publisher.published]
        assert [500, 500, 200] == [len(calls) for calls in publisher.calls]

    @pytest.mark.parametrize(("aside_s", "expected"), [(0.0, []), (-60.0, [7]), (60.0, [7])])
    def test_what_another_process_wrote(self, installation: Installation, aside_s: float, expected: list[int]) -> None:
        """A relay says at once what its own process wrote; of another's only what was left lying.

        A time that is still to come tells of a clock that was set back: that is not waited for.
        """
        process = RelayedProcess(installation)
        for writer, argument in (("mine", 1), ("other", 7)):
            # Of processes that crashed after the commit.
            installation.database.attach_relay(writer, lambda calls, rows: None)
            with unit_of_work(installation.database) as work:
                work.enqueue("stage_content", [argument])

        process.look()
        with installation.database.write() as connection:
            connection.execute(update(outbox).values(written_at=outbox.c.written_at + aside_s))
        process.look()

        assert [1, *expected] == [call.argument for call in process.publisher.published]
        assert [("stage_content", 7)] * (not expected) == installation.messages()
