"""Aborts, preparations and lost runs of a plan in a database, and plans that are out of date."""

from __future__ import annotations

import pytest
from sqlalchemy import func, inspect, select, update

from db.database import Database
from db.errors import StalePlanError
from db.load_snapshot import database_time, load_snapshot
from db.schema import events, outbox, preparations, runs, steps
from statemachine.actions import (
    AbortWaiting,
    EndPreparation,
    ExpireRun,
    OpenPreparation,
    RetryPreparation,
)
from statemachine.plan import plan
from statemachine.states import PreparationState, RunOutcome, StepState
from tests.integration.db.db_rows import ABORT, AT, LIMITS, InstallationRows


class TestAbort:
    def test_waiting_steps(self, installation: InstallationRows) -> None:
        """Waiting steps are aborted, those handed out but not taken too; a running one goes on to its end."""
        strategy_id = installation.add_strategy({1: 1, 2: 1, 3: 2, 4: 3})
        installation.coordinate()
        running, queued = installation.queued()
        installation.claim(running)
        installation.set_strategy("abort requested")
        installation.coordinate()

        assert installation.states() == ["prestage-precheck", "aborted", "aborted", "aborted"]
        assert installation.strategy_state() == "aborting"
        withdrawn = installation.run(queued)
        assert ("finished", "withdrawn", True) == (withdrawn.state, withdrawn.outcome, withdrawn.consumed)
        step = installation.step(2)
        assert ("", None, AT) == (step.details, step.run_id, step.finished_at)
        assert not installation.claim(queued)
        told = installation.connection.execute(
            select(events.c.data).where(events.c.type == "step.prestage.aborted")
        ).scalar_one()
        assert ["site2", "site3", "site4"] == [one["subcloud"] for one in told["steps"]]

        installation.finish(running, from_version="22.12")
        installation.coordinate()
        while installation.queued():
            installation.work(installation.queued()[0])

        assert installation.states() == ["complete", "aborted", "aborted", "aborted"]
        assert installation.strategy_state() == "aborted"
        assert [("strategy.prestage.aborted", f"strategy/{strategy_id}")] == installation.told()[-1:]

    def test_nobody_waits(self, installation: InstallationRows) -> None:
        """An abort that finds nobody waiting aborts nobody, and tells of nobody."""
        strategy_id = installation.add_strategy({1: 1})
        installation.connection.execute(update(steps).values(state="prestaging-images"))
        installation.carry_out(AbortWaiting(strategy_id=strategy_id, change=ABORT))

        assert installation.states() == ["prestaging-images"]
        assert installation.told() == []

    def test_other_steps_are_left_alone(self, installation: InstallationRows) -> None:
        """An abort touches no standalone prestage."""
        installation.add_strategy({1: 1})
        installation.add_standalone(2)
        installation.coordinate()
        installation.set_strategy("abort requested")
        installation.coordinate()

        assert installation.states() == ["aborted", "initial"]
        assert [installation.step(2).run_id] == installation.queued()


class TestPreparations:
    def open_one(self, installation: InstallationRows) -> tuple[int, int]:
        """Open a preparation; return its id and the id of its run."""
        strategy_id = installation.add_strategy({1: 1, 2: 1})
        installation.carry_out(
            OpenPreparation(
                owner=(strategy_id, None),
                phase=StepState.PREPARE,
                release="22.12",
                from_version="21.12",
                opened_by_step_id=installation.step(1).id,
            )
        )
        (row,) = installation.preparations()
        return row.id, row.run_id

    def test_open(self, installation: InstallationRows) -> None:
        """A preparation starts running, with a run of its own and a message."""
        preparation_id, run_id = self.open_one(installation)
        (row,), run = installation.preparations(), installation.run(run_id)

        assert ("running", "22.12", "21.12", installation.step(1).id) == (
            row.state,
            row.release,
            row.from_version,
            row.opened_by_step_id,
        )
        assert (None, preparation_id, "prestage-prepare", 1) == (
            run.step_id,
            run.preparation_id,
            run.phase,
            run.attempt,
        )
        assert [("prepare_release", run_id)] == installation.calls()

    def test_retry(self, installation: InstallationRows) -> None:
        """A lost run is consumed and another takes its place."""
        preparation_id, first = self.open_one(installation)
        installation.carry_out(
            RetryPreparation(preparation_id=preparation_id, phase=StepState.PREPARE, attempt=2, consumed_run_id=first)
        )
        (row,) = installation.preparations()

        assert installation.run(first).consumed
        assert (2, "queued") == (installation.run(row.run_id).attempt, installation.run(row.run_id).state)

    @pytest.mark.parametrize("state", [PreparationState.COMPLETE, PreparationState.FAILED])
    def test_end(self, installation: InstallationRows, state: PreparationState) -> None:
        """A preparation ends once."""
        preparation_id, run_id = self.open_one(installation)
        end = EndPreparation(preparation_id=preparation_id, state=state, details="why", consumed_run_id=run_id)
        installation.carry_out(end)
        (row,) = installation.preparations()

        assert (state, "why", AT) == (row.state, row.details, row.finished_at)
        assert installation.run(run_id).consumed
        with pytest.raises(StalePlanError):
            installation.carry_out(end)

    def test_one_for_all_of_a_strategy(self, installation: InstallationRows) -> None:
        """Steps from the same version share one preparation; its failure fails the opener and the others."""
        installation.add_strategy({1: 1, 2: 1, 3: 1, 4: 2})
        installation.coordinate()
        for run_id, version in zip(installation.queued(), ["21.12", "21.12", "22.12"], strict=True):
            installation.claim(run_id)
            installation.finish(run_id, from_version=version)
        installation.coordinate()
        (row,) = installation.preparations()
        installation.work(row.run_id, outcome=RunOutcome.FAILED, details="no feed")

        assert installation.states() == ["failed", "failed", "prestaging-packages", "initial"]
        assert installation.step(1).details.endswith("for detailed output. no feed")
        assert installation.step(2).details == "prestage-prepare: Aborted due to previous prestage-prepare failure"

        (packages,) = installation.queued()
        installation.work(packages)
        installation.work(installation.queued()[0])
        installation.work(installation.queued()[0], from_version="21.12")

        assert installation.states() == ["failed", "failed", "complete", "failed"]
        assert installation.step(4).details == "prestage-prepare: Aborted due to previous prestage-prepare failure"
        assert len(installation.preparations()) == 1


class TestUpkeep:
    def taken(self, installation: InstallationRows) -> int:
        """Return a run that a worker holds."""
        installation.add_strategy({1: 1})
        installation.coordinate()
        (run_id,) = installation.queued()
        installation.claim(run_id)
        return run_id

    def test_expire(self, installation: InstallationRows) -> None:
        """A passed lease takes the run away for good: its worker's report changes nothing."""
        run_id = self.taken(installation)
        installation.carry_out(ExpireRun(run_id=run_id, lease_until=installation.run(run_id).lease_until))

        assert ("finished", "lost") == (installation.run(run_id).state, installation.run(run_id).outcome)
        assert not installation.finish(run_id)

    def test_renewed_lease(self, installation: InstallationRows) -> None:
        """A lease that was renewed after the look keeps its run, and nothing is wrong."""
        run_id = self.taken(installation)
        installation.carry_out(ExpireRun(run_id=run_id, lease_until=installation.run(run_id).lease_until - 10))

        assert installation.run(run_id).state == "running"

    def test_finished_run_is_not_expired(self, installation: InstallationRows) -> None:
        """A run that was reported after the look keeps its outcome."""
        run_id = self.taken(installation)
        lease_until = installation.run(run_id).lease_until
        installation.finish(run_id, from_version="21.12")
        installation.carry_out(ExpireRun(run_id=run_id, lease_until=lease_until))

        assert installation.run(run_id).outcome == "succeeded"


class TestStaleness:
    def test_nothing_is_written(self, database: Database) -> None:
        """A step that has changed since the plan stops the transaction, and nothing of it stays."""
        with database.write() as connection:
            installation = InstallationRows(connection)
            installation.add_subclouds(3)
            installation.add_strategy({1: 1, 2: 1, 3: 1})
            now = database_time(connection)
            actions = plan(load_snapshot(connection, now, LIMITS), now, LIMITS)
            # Somebody else is quicker with one of the three.
            connection.execute(update(steps).where(steps.c.subcloud_id == 2).values(version=2))
        with pytest.raises(StalePlanError), database.write() as connection:
            InstallationRows(connection).carry_out(*actions)

        with database.read() as connection:
            assert [0, 0, 0] == [
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (runs, outbox, events)
            ]
            assert [None, None, None] == list(connection.execute(select(steps.c.run_id)).scalars())

    def test_second_preparation_is_refused_by_the_database(self, installation: InstallationRows) -> None:
        """The database itself holds one preparation per owner, release and from-version."""
        TestPreparations().open_one(installation)
        unique = {
            index["name"] for index in inspect(installation.connection).get_indexes("preparations") if index["unique"]
        }

        assert {"uq_preparations_strategy", "uq_preparations_step"} == unique
        assert len(list(installation.connection.execute(select(preparations)))) == 1

    def test_unknown_action(self, installation: InstallationRows) -> None:
        """An action that nobody knows how to carry out is a programming fault, not silence."""
        with pytest.raises(TypeError, match="no way to carry out str"):
            installation.carry_out("dance")  # type: ignore[arg-type]
