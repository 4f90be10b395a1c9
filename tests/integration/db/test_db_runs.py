from __future__ import annotations

import pytest
from sqlalchemy import Connection, select, update

from db.claims import claim_runs, queued_runs
from db.load_snapshot import database_time
from db.runs import RunResult, finish_runs, hand_back, lose_runs_of, renew
from db.schema import run_outputs, runs
from db.unit_of_work import UnitOfWork
from statemachine.snapshot import LEASE_S
from statemachine.states import PLAYBOOK_PHASES, RunOutcome, StepState
from tests.integration.db.db_rows import AT, OWNER, InstallationRows


@pytest.fixture
def installation(connection: Connection) -> InstallationRows:
    """Three sites in one stage of an applied strategy, their prechecks handed out."""
    installation = InstallationRows(connection)
    installation.add_subclouds(3)
    installation.add_strategy({1: 1, 2: 1, 3: 1})
    installation.coordinate()
    return installation


class TestClaim:
    def test_claim(self, installation: InstallationRows) -> None:
        """A claimed run is held under a lease on the database's clock, and its step has begun."""
        run_id = installation.queued()[0]
        assert installation.claim(run_id)
        run, step = installation.run(run_id), installation.step(1)

        assert ("running", OWNER, AT) == (run.state, run.owner, run.started_at)
        assert run.lease_until == pytest.approx(database_time(installation.connection) + LEASE_S, abs=5)
        assert ("prestage-precheck", AT, 3) == (step.state, step.started_at, step.version)
        assert [("step.prestage.prestage-precheck", f"step/{step.id}")] == installation.told()

    def test_second_claim(self, installation: InstallationRows) -> None:
        """A repeated message finds the run taken, also by the same worker, and changes nothing."""
        run_id = installation.queued()[0]
        installation.claim(run_id)
        before = installation.run(run_id), installation.step(1)

        assert [False, False] == [installation.claim(run_id, owner) for owner in (OWNER, "worker2/1")]
        assert before == (installation.run(run_id), installation.step(1))

    def test_unknown_run(self, installation: InstallationRows) -> None:
        """A message for a run that never was is nobody's work."""
        assert not installation.claim(999_999)

    @pytest.mark.parametrize("outcome", [RunOutcome.SUCCEEDED, RunOutcome.LOST, RunOutcome.WITHDRAWN])
    def test_finished_run(self, installation: InstallationRows, outcome: RunOutcome) -> None:
        """A run with an outcome is not taken again."""
        run_id = installation.queued()[0]
        installation.connection.execute(
            update(runs).where(runs.c.id == run_id).values(state="finished", outcome=outcome)
        )

        assert not installation.claim(run_id)

    def test_assignment(self, installation: InstallationRows) -> None:
        """The worker gets all it needs, the sealed password and what it is bound to among it."""
        run_id = installation.queued()[0]
        (found,) = claim_runs(UnitOfWork(installation.connection, AT), [run_id], OWNER)

        assert (run_id, "prestage-precheck", installation.step(1).id, "22.12", False) == (
            found.run_id,
            found.phase,
            found.step_id,
            found.release,
            found.force,
        )
        assert ("21.12", None, "site1", None) == (
            found.from_version,
            found.oam_address,
            found.subcloud["name"],
            found.busy_with,
        )
        assert ("c2VhbGVk", "command-1") == (found.sealed, found.bound_to)

    def test_assignment_of_a_preparation(self, installation: InstallationRows) -> None:
        """A preparation is carried out with the site that needed it first, for the version it was opened for."""
        for run_id, version in zip(installation.queued(), ["22.12", "22.06", "22.06"], strict=True):
            installation.claim(run_id)
            installation.finish(run_id, from_version=version)
        installation.coordinate()
        (preparation,) = installation.preparations()
        (found,) = claim_runs(UnitOfWork(installation.connection, AT), [preparation.run_id], OWNER)

        assert (None, "prestage-prepare", "22.06", "site2") == (
            found.step_id,
            found.phase,
            found.from_version,
            found.subcloud["name"],
        )

    def test_busy_subcloud(self, installation: InstallationRows) -> None:
        """Precheck learns what else is being done to the subcloud; a waiting step is not being done."""
        installation.add_standalone(1)
        installation.coordinate()
        first, *_rest, last = installation.queued()
        (mine,) = claim_runs(UnitOfWork(installation.connection, AT), [first], OWNER)
        (other,) = claim_runs(UnitOfWork(installation.connection, AT), [last], OWNER)

        assert (None, "prestage-precheck") == (mine.busy_with, other.busy_with)

    def test_second_attempt_starts_nothing_twice(self, installation: InstallationRows) -> None:
        """The second attempt of precheck finds its step begun: the start is neither stamped nor told again."""
        installation.work(installation.queued()[0], outcome=RunOutcome.LOST)
        version = installation.step(1).version
        assert installation.claim(installation.queued()[-1])

        assert version == installation.step(1).version
        assert [kind for kind, _ in installation.told()] == ["step.prestage.prestage-precheck"]


class TestFinish:
    def test_finish(self, installation: InstallationRows) -> None:
        """A report is kept with its output, and what precheck read goes to the step."""
        run_id = installation.queued()[0]
        installation.claim(run_id)
        report = RunResult(
            run_id=run_id,
            outcome=RunOutcome.SUCCEEDED,
            details="",
            facts={"free": 12},
            output=b"zipped",
            from_version="21.12",
            oam_address="10.10.10.12",
        )
        assert {run_id} == finish_runs(installation.connection, [report], OWNER, AT)
        run, step = installation.run(run_id), installation.step(1)

        assert ("finished", "succeeded", {"free": 12}, None, AT) == (
            run.state,
            run.outcome,
            run.facts,
            run.lease_until,
            run.finished_at,
        )
        assert ("21.12", "10.10.10.12") == (step.from_version, step.oam_address)
        assert b"zipped" == installation.connection.execute(select(run_outputs.c.content)).scalar_one()
        assert not run.consumed

    def test_a_fenced_report_drops_alone(self, installation: InstallationRows) -> None:
        """Of reports in a set one whose run another worker holds is left out; all others are written whole."""
        first, second, third = installation.queued()
        for run_id, owner in ((first, OWNER), (second, "worker2/1"), (third, OWNER)):
            installation.claim(run_id, owner)
        reports = [
            RunResult(
                run_id=run_id,
                outcome=RunOutcome.SUCCEEDED,
                details=f"of {run_id}",
                facts={},
                output=b"zipped",
                from_version=version,
                oam_address="10.10.10.12",
                worked_s=2.5,
            )
            for run_id, version in ((third, "21.12"), (second, "21.12"), (first, None))
        ]

        assert {first, third} == finish_runs(installation.connection, reports, OWNER, AT)
        assert [("finished", f"of {first}"), ("running", ""), ("finished", f"of {third}")] == [
            (run.state, run.details) for run in map(installation.run, (first, second, third))
        ]
        assert [(None, 2.5), (None, 0.0), ("21.12", 2.5)] == [
            (step.from_version, step.worked_s) for step in map(installation.step, (1, 2, 3))
        ]
        kept = installation.connection.execute(select(run_outputs.c.run_id)).scalars()
        assert {first, third} == set(kept)

    @pytest.mark.parametrize("owner", ["worker1/2", "worker2/1", ""])
    def test_fenced_owner(self, installation: InstallationRows, owner: str) -> None:
        """A report of somebody who does not hold the run writes nothing, an earlier process of the worker included."""
        run_id = installation.queued()[0]
        installation.claim(run_id)
        before = installation.run(run_id), installation.step(1)
        report = RunResult(
            run_id=run_id,
            outcome=RunOutcome.FAILED,
            details="no",
            facts={},
            output=b"late",
            from_version="9.9",
        )

        assert not finish_runs(installation.connection, [report], owner, AT)
        assert before == (installation.run(run_id), installation.step(1))
        assert installation.connection.execute(select(run_outputs)).all() == []

    def test_report_once(self, installation: InstallationRows) -> None:
        """A second report of the same run writes nothing."""
        run_id = installation.queued()[0]
        installation.claim(run_id)
        assert installation.finish(run_id, RunOutcome.FAILED, "first")

        assert not installation.finish(run_id, RunOutcome.SUCCEEDED, from_version="21.12")
        assert ("failed", "first") == (installation.run(run_id).outcome, installation.run(run_id).details)

    def test_queued_run_cannot_be_reported(self, installation: InstallationRows) -> None:
        """A run that nobody holds has no outcome to report."""
        assert not installation.finish(installation.queued()[0])


class TestRenew:
    def test_renew(self, installation: InstallationRows) -> None:
        """One statement renews all runs of a process, and only its own."""
        first, second, third = installation.queued()
        installation.claim(first)
        installation.claim(second)
        installation.claim(third, "worker2/1")
        installation.connection.execute(update(runs).values(lease_until=1.0))
        renewal = renew(installation.connection, OWNER)

        assert frozenset({first, second}) == renewal.held
        assert {} == renewal.cancelled
        assert installation.run(first).lease_until == pytest.approx(
            database_time(installation.connection) + LEASE_S, abs=5
        )
        assert installation.run(third).lease_until == 1.0

    def test_what_was_asked_of_a_run(self, installation: InstallationRows) -> None:
        """A renewal brings back which runs somebody wants stopped."""
        first, second, _third = installation.queued()
        installation.claim(first)
        installation.claim(second)
        installation.connection.execute(update(runs).where(runs.c.id == second).values(cancel_requested=True))

        assert {second: 30.0} == renew(installation.connection, OWNER).cancelled

    def test_taken_run_is_not_held(self, installation: InstallationRows) -> None:
        """A run that was taken away is missing from the renewal, which is how its worker learns."""
        first, second, _third = installation.queued()
        installation.claim(first)
        installation.claim(second)
        installation.connection.execute(update(runs).where(runs.c.id == first).values(state="finished", outcome="lost"))

        assert frozenset({second}) == renew(installation.connection, OWNER).held


class TestLoseAndHandBack:
    def test_restarted_worker(self, installation: InstallationRows) -> None:
        """A worker that knows its predecessor dead gives up what that held, and what nobody else holds."""
        first, second, third = installation.queued()
        installation.claim(first, "worker1/1")
        installation.claim(second, "worker1/2")
        installation.claim(third, "worker10/1")

        assert [first, second] == lose_runs_of(installation.connection, "worker1", AT)
        assert ["lost", "lost", None] == [installation.run(one).outcome for one in (first, second, third)]
        assert not installation.finish(first, owner="worker1/1")

    def test_name_with_wildcards(self, installation: InstallationRows) -> None:
        """A worker's name is a name, not a pattern."""
        installation.claim(installation.queued()[0], "worker1/1")

        assert [] == lose_runs_of(installation.connection, "worker_", AT)
        assert [] == lose_runs_of(installation.connection, "%", AT)

    def test_names_differ_by_case(self, installation: InstallationRows) -> None:
        """Two workers whose names differ by case only are two workers, on every database."""
        installation.claim(installation.queued()[0], "Worker1/1")

        assert [] == lose_runs_of(installation.connection, "worker1", AT)

    def test_hand_back(self, installation: InstallationRows) -> None:
        """A run that was never begun goes back, and somebody else takes it."""
        run_id = installation.queued()[0]
        installation.claim(run_id)
        hand_back(installation.connection, [run_id], OWNER)
        run = installation.run(run_id)

        assert ("queued", None, None, None) == (run.state, run.owner, run.lease_until, run.started_at)
        assert installation.claim(run_id, "worker2/1")
        assert not installation.finish(run_id)

    def test_only_the_owner_hands_back(self, installation: InstallationRows) -> None:
        """Nobody gives away what another holds, or what has ended."""
        first, second, _third = installation.queued()
        installation.claim(first, "worker2/1")
        installation.claim(second)
        installation.finish(second, RunOutcome.FAILED)
        hand_back(installation.connection, [first, second], OWNER)

        assert ["running", "finished"] == [installation.run(one).state for one in (first, second)]


class TestWaiting:
    def test_queued_runs(self, installation: InstallationRows) -> None:
        """Runs that wait for a slot come oldest first; prechecks need none, and taken ones do not wait."""
        for run_id in installation.queued():
            installation.claim(run_id)
            installation.finish(run_id, from_version="22.12")
        installation.coordinate()
        first, second, third = installation.queued()
        standalone = installation.add_standalone(1)
        installation.coordinate()
        installation.claim(second)

        assert [first, third] == queued_runs(installation.connection, PLAYBOOK_PHASES, 10)
        assert [first] == queued_runs(installation.connection, PLAYBOOK_PHASES, 1)
        phase = select(runs.c.phase).where(runs.c.step_id == standalone)
        assert installation.connection.execute(phase).scalar_one() == StepState.PRECHECK
