"""A worker's leases and reports by themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from sqlalchemy import Connection, event
from structlog.testing import capture_logs

from actors.metrics import NullMetrics
from actors.worker.lease_renewal import LeasedRuns, Leases
from actors.worker.result_writer import ResultWriter
from db.claims import claim_runs
from db.errors import DatabaseUnavailableError
from db.runs import RunResult
from db.schema import run_outputs, runs
from db.unit_of_work import UnitOfWork
from messages.queues import Call
from service.periodic_thread import PeriodicThread
from statemachine.snapshot import LEASE_S
from statemachine.states import RunOutcome
from tests.support.installation import OWNER, Installation, claimed


def report(run_id: int) -> RunResult:
    """Return a report of success."""
    return RunResult(run_id=run_id, outcome=RunOutcome.SUCCEEDED, details="", facts={}, output=b"zz")


def away() -> None:
    """Stand for a database that does not answer."""
    raise DatabaseUnavailableError


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hands(NullMetrics):
    """A worker's hands: what it holds, what it reports, what it was told to stop, how many runs it lost."""

    def __init__(self, *held: int) -> None:
        self.holding = set(held)
        self.reporting: set[int] = set()
        self.stopped: list[int] = []
        self.cancelled: list[tuple[int, float]] = []
        self.given_up: list[int] = []
        self.lost = 0
        self.claimed_at: dict[int, float] = {}

    def lease_lost(self) -> None:
        """Count."""
        self.lost += 1

    def runs(self) -> LeasedRuns:
        """Return what the leases ask for."""
        return LeasedRuns(
            held=lambda: frozenset(self.holding),
            pending=lambda: frozenset(self.reporting),
            stop_run=lambda run_id, _: self.stopped.append(run_id),
            cancel=lambda run_id, grace_s: self.cancelled.append((run_id, grace_s)),
            give_up=self.given_up.append,
            claimed_at=self.claimed_at.get,
            metrics=self,
        )


class TestLeases:
    def test_a_held_run_stays(self, installation: Installation) -> None:
        """A renewal moves the lease and stops nothing."""
        run_id = claimed(installation)
        before = installation.rows(runs)[0]["lease_until"]
        hands = Hands(run_id)

        Leases(installation.database, OWNER, hands.runs()).renew()

        assert ([], []) == (hands.stopped, hands.given_up)
        assert before < installation.rows(runs)[0]["lease_until"]

    def test_a_run_that_was_taken_away_is_stopped(self, installation: Installation) -> None:
        """A run that is no longer this worker's is stopped."""
        run_id = claimed(installation, owner="other/1")
        hands = Hands(run_id)

        Leases(installation.database, OWNER, hands.runs()).renew()

        assert [run_id] == hands.stopped

    @pytest.mark.parametrize(("grace_s", "used_s"), [(5.0, 5.0), (0.0, 0.0), (None, 30.0)])
    def test_a_cancelled_run_is_cancelled(
        self, installation: Installation, grace_s: float | None, used_s: float
    ) -> None:
        """A renewal cancels a marked run with the grace of its mark, 30 s without one; it was not taken away."""
        run_id = claimed(installation)
        with installation.database.write() as connection:
            connection.execute(runs.update().values(cancel_requested=True, cancel_grace_s=grace_s))
        hands = Hands(run_id)
        leases = Leases(installation.database, OWNER, hands.runs())

        leases.renew()
        leases.renew()

        assert ([], [(run_id, used_s)] * 2, 0) == (hands.stopped, hands.cancelled, hands.lost)

    def test_a_worker_that_cannot_renew_stops_its_runs(self, installation: Installation) -> None:
        """After 30 s without a renewal the worker stops its runs, even while a renewal hangs, before the lease ends."""
        run_id = claimed(installation)
        clock, hands = Clock(), Hands(run_id)
        leases = Leases(installation.database, OWNER, hands.runs(), clock)
        leases.renew()
        seen = []
        for clock.now in (10.0, 30.0, 31.0):
            leases.watch()
            seen.append(list(hands.stopped))

        assert [[], [], [run_id]] == seen
        assert clock.now < LEASE_S

    def test_a_lease_counts_from_before_its_renewal(self, installation: Installation) -> None:
        """A renewal whose answer takes 25 s leaves the lease 25 s shorter: its runs are stopped before it ends."""
        run_id = claimed(installation)
        clock, hands = Clock(), Hands(run_id)
        leases = Leases(installation.database, OWNER, hands.runs(), clock)

        @event.listens_for(installation.database.writer_engine, "commit")
        def _answer_late(_: Connection) -> None:
            clock.now += 25.0

        leases.renew()
        event.remove(installation.database.writer_engine, "commit", _answer_late)
        seen = []
        for clock.now in (29.0, 31.0):
            leases.watch()
            seen.append(list(hands.stopped))

        assert [[], [run_id]] == seen

    def test_a_lease_counts_from_before_its_claim(self, installation: Installation) -> None:
        """A claim that was answered after 25 s leaves the lease 25 s shorter, whatever else was renewed meanwhile."""
        clock, hands = Clock(), Hands()
        leases = Leases(installation.database, OWNER, hands.runs(), clock)
        clock.now = 20.0
        leases.renew()
        clock.now = 25.0
        run_id = claimed(installation)
        hands.holding.add(run_id)
        hands.claimed_at[run_id] = 0.0
        seen = []
        for clock.now in (30.0, 31.0):
            leases.watch()
            seen.append(list(hands.stopped))

        assert [[], [run_id]] == seen

    def test_a_renewed_claim_counts_from_its_renewal(self, installation: Installation) -> None:
        """Once a renewal has found a run, its claim no longer counts."""
        run_id = claimed(installation)
        clock, hands = Clock(), Hands(run_id)
        hands.claimed_at[run_id] = 0.0
        leases = Leases(installation.database, OWNER, hands.runs(), clock)
        clock.now = 10.0
        leases.renew()
        seen = []
        for clock.now in (40.0, 41.0):
            leases.watch()
            seen.append(list(hands.stopped))

        assert [[], [run_id]] == seen

    def test_a_run_is_lost_once(self, installation: Installation) -> None:
        """A run that was lost is told and counted once, however often it is stopped until it ends."""
        hands, clock = Hands(1), Clock()
        leases = Leases(installation.database, OWNER, hands.runs(), clock)
        with capture_logs() as lines:
            for clock.now in (31.0, 33.0):
                leases.watch()
            leases.renew()
            first = (list(hands.stopped), hands.lost)
            hands.holding = {2}
            leases.renew()
            # It ended, and came again.
            hands.holding = {1, 2}
            leases.renew()

        assert ([1, 1, 1], 1) == first
        assert 3 == hands.lost
        assert [1, 2, 1] == [line["run"] for line in lines if line["event"] == "run.stopped"]

    def test_a_run_that_nobody_works_on_is_given_up(self, installation: Installation) -> None:
        """A run of ours that nobody here works on at two renewals is reported lost: its claim was never heard of."""
        run_id = claimed(installation)
        hands = Hands()
        leases = Leases(installation.database, OWNER, hands.runs())
        seen = []
        for _ in range(2):
            leases.renew()
            seen.append(list(hands.given_up))

        assert [[], [run_id]] == seen

    @pytest.mark.parametrize("place", ["holding", "reporting"])
    def test_a_run_in_hand_is_never_given_up(self, installation: Installation, place: str) -> None:
        """A run that is worked on, or whose report waits to be written, is not given up."""
        run_id = claimed(installation)
        hands = Hands()
        getattr(hands, place).add(run_id)
        leases = Leases(installation.database, OWNER, hands.runs())
        for _ in range(3):
            leases.renew()

        assert [] == hands.given_up


class TestReporter:
    def test_a_report_is_written_and_the_coordinator_called(self, installation: Installation) -> None:
        """A report finishes its run, keeps its output, and calls the coordinator."""
        run_id = claimed(installation)
        handed_over: list[Call] = []
        installation.database.attach_relay(OWNER, lambda calls, _: handed_over.extend(calls))
        results = ResultWriter(installation.database, OWNER)

        results.add(report(run_id))
        results.flush()

        row = installation.rows(runs)[0]
        assert ("finished", "succeeded") == (row["state"], row["outcome"])
        assert ("coordinate", None) == installation.messages()[-1]
        assert [Call("coordinate")] == handed_over
        with installation.database.read() as connection:
            assert b"zz" == connection.execute(run_outputs.select()).one().content

    def test_a_report_of_a_fenced_worker_is_dropped(self, installation: Installation) -> None:
        """A report about a run that somebody else holds changes nothing."""
        run_id = claimed(installation, owner="other/1")
        before = installation.rows(runs)
        results = ResultWriter(installation.database, OWNER)

        results.add(report(run_id))
        results.flush()

        assert before == installation.rows(runs)
        assert ("coordinate", None) not in installation.messages()

    def test_a_report_that_cannot_be_written_is_kept(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While the database is away a report waits; it is written when the database is back."""
        run_id = claimed(installation)
        results = ResultWriter(installation.database, OWNER)
        results.add(report(run_id))
        monkeypatch.setattr(installation.database, "write", away)
        with pytest.raises(DatabaseUnavailableError):
            results.flush()
        monkeypatch.undo()
        assert frozenset({run_id}) == results.pending()

        results.flush()

        assert "finished" == installation.rows(runs)[0]["state"]

    def test_a_report_waits_for_a_connection(self, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        """A good result is not stored as a failure because no connection was free for a while."""
        run_id = claimed(installation)
        results, real = ResultWriter(installation.database, OWNER), installation.database.write
        results.add(report(run_id))
        write = Mock(side_effect=[DatabaseUnavailableError(), DatabaseUnavailableError(), real()])
        monkeypatch.setattr(installation.database, "write", write)
        while results.pending():
            with suppress(DatabaseUnavailableError):
                results.flush()

        assert "succeeded" == installation.rows(runs)[0]["outcome"]

    def test_one_unwritable_report_does_not_hold_up_the_others(self, installation: Installation) -> None:
        """A report that the database refuses ends its run as failed; the one behind it is written as it is."""
        installation.add_site("a")
        installation.add_site("b")
        installation.create()
        installation.verb("apply")
        first, second = installation.queued()
        at = datetime.now(UTC)
        with installation.database.write() as connection:
            for run_id in (first, second):
                assert claim_runs(UnitOfWork(connection, at), [run_id], OWNER)
        bad = RunResult(run_id=first, outcome=RunOutcome.SUCCEEDED, details="\ud800", facts={})
        results = ResultWriter(installation.database, OWNER)

        results.add(bad)
        results.add(report(second))
        results.flush()

        assert [("failed", "The result of the run could not be stored."), ("succeeded", "")] == [
            (row["outcome"], row["details"]) for row in installation.rows(runs)
        ]
        assert frozenset() == results.pending()

    def test_two_flushes_at_once_lose_nothing(self, installation: Installation) -> None:
        """A stopping service flushes while the loop still writes: every report is written."""
        for place in range(20):
            installation.add_site(f"s{place:02}")
        installation.create(**{"max-parallel-subclouds": 20})
        installation.verb("apply")
        at = datetime.now(UTC)
        mine = installation.queued()
        with installation.database.write() as connection:
            for run_id in mine:
                assert claim_runs(UnitOfWork(connection, at), [run_id], OWNER)
        results = ResultWriter(installation.database, OWNER)
        loop = PeriodicThread("reports", results.flush, interval_s=5)
        results.wake = loop.wake
        loop.start()
        with ThreadPoolExecutor(4) as pool:
            for run_id in mine:
                pool.submit(results.add, report(run_id))
                pool.submit(results.flush)
        loop.stop()
        results.flush()

        assert {"finished"} == {row["state"] for row in installation.rows(runs)}
