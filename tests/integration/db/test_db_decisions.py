from __future__ import annotations

import pytest
from sqlalchemy import Connection, func, inspect, select, update

from db.apply_step_moves import StalePlanError
from db.database import Database
from db.load_snapshot import database_time, load_snapshot
from db.schema import events, outbox, preparations, runs, steps, strategies, subclouds
from statemachine.actions import (
    AbortWaiting,
    EndPreparation,
    ExpireRun,
    MoveStep,
    MoveStrategy,
    OpenPreparation,
    RetryPreparation,
)
from statemachine.plan import plan
from statemachine.states import PreparationState, RunOutcome, StepState, StrategyState
from tests.integration.db.db_rows import ABORT, AT, LIMITS, Rig


@pytest.fixture
def rig(connection: Connection) -> Rig:
    """Four sites."""
    rig = Rig(connection)
    rig.add_subclouds(4)
    return rig


class TestSteps:
    def test_start(self, rig: Rig) -> None:
        """A step that starts gets a queued run and a message; it begins, and is told of, when a worker takes it."""
        rig.add_strategy({1: 1})
        rig.coordinate()
        step = rig.step(1)
        run = rig.run(step.run_id)

        assert ("initial", 2, None) == (step.state, step.version, step.started_at)
        assert (step.id, None, "prestage-precheck", 1, "queued", None, False) == (
            run.step_id,
            run.preparation_id,
            run.phase,
            run.attempt,
            run.state,
            run.outcome,
            run.consumed,
        )
        assert [("inspect_site", run.id)] == rig.calls()
        assert rig.told() == []

    def test_whole_life(self, rig: Rig) -> None:
        """A step goes through the four phases, tells each, and shows its end on the subcloud."""
        strategy_id = rig.add_strategy({1: 1})
        rig.coordinate()
        seen = []
        while rig.queued():
            (run_id,) = rig.queued()
            rig.work(run_id)
            seen.append((rig.step(1).state, rig.subcloud(1).prestage_status))
        step, site = rig.step(1), rig.subcloud(1)

        assert seen == [
            ("prestage-prepare", "prestaging"),
            ("prestaging-packages", "prestaging"),
            ("prestaging-images", "prestaging"),
            ("complete", "complete"),
        ]
        assert ("complete", "", AT, AT) == (step.state, step.details, step.started_at, step.finished_at)
        assert (None, "21.12", "10.10.10.12") == (step.run_id, step.from_version, step.oam_address)
        assert site.prestage_versions == "for-install: 22.12 - for-sw-deploy: None"
        assert site.error_description == "No errors present"
        subject = f"step/{step.id}"
        assert rig.told() == [
            ("step.prestage.prestage-precheck", subject),
            ("step.prestage.prestage-prepare", subject),
            ("step.prestage.prestaging-packages", subject),
            ("step.prestage.prestaging-images", subject),
            ("step.prestage.complete", subject),
            ("strategy.prestage.complete", f"strategy/{strategy_id}"),
        ]
        assert [actor for actor, _ in rig.calls()] == [
            "inspect_site",
            "prepare_release",
            "stage_content",
            "stage_content",
        ]
        assert [True] * 4 == list(rig.connection.execute(select(runs.c.consumed)).scalars())

    def test_reinstall(self, rig: Rig) -> None:
        """A reinstall is told as passing prepare, and needs no preparation."""
        rig.add_strategy({1: 1})
        rig.coordinate()
        rig.work(rig.queued()[0], from_version="22.12")

        assert rig.step(1).state == "prestaging-packages"
        assert rig.subcloud(1).prestage_status == "prestaging"
        assert rig.preparations() == []
        assert [kind for kind, _ in rig.told()][-2:] == [
            "step.prestage.prestage-prepare",
            "step.prestage.prestaging-packages",
        ]

    def test_failed_step(self, rig: Rig) -> None:
        """A failed step shows its details on the subcloud too."""
        rig.add_strategy({1: 1, 2: 1})
        rig.coordinate()
        rig.work(rig.queued()[0], outcome=RunOutcome.FAILED, details="no route")
        step, site = rig.step(1), rig.subcloud(1)

        assert ("failed", "prestage-precheck: no route", AT) == (step.state, step.details, step.finished_at)
        assert ("failed", "prestage-precheck: no route") == (site.prestage_status, site.error_description)
        assert (None, "No errors present") == (rig.subcloud(2).prestage_status, rig.subcloud(2).error_description)

    @pytest.mark.parametrize("before", [None, "failed", "complete"])
    def test_skipped_step(self, rig: Rig, before: str | None) -> None:
        """A skipped step is complete and leaves the subcloud's own status as it was (8.7)."""
        rig.connection.execute(update(subclouds).values(prestage_status=before))
        rig.add_strategy({1: 1})
        rig.coordinate()
        rig.work(rig.queued()[0], outcome=RunOutcome.SKIPPED, details="Prestage skipped 'site1': offline.")

        assert ("complete", "Prestage skipped 'site1': offline.") == (rig.step(1).state, rig.step(1).details)
        assert before == rig.subcloud(1).prestage_status
        assert rig.subcloud(1).prestage_versions is None

    def test_skipped_standalone(self, rig: Rig) -> None:
        """A standalone prestage shows as prestaging when it is accepted; passed over after all, it shows nothing."""
        rig.connection.execute(update(subclouds).values(prestage_status="prestaging"))
        rig.add_standalone(1)
        rig.coordinate()
        rig.work(rig.queued()[0], outcome=RunOutcome.SKIPPED, details="Prestage skipped 'site1': offline.")

        assert ("complete", "Prestage skipped 'site1': offline.") == (rig.step(1).state, rig.step(1).details)
        assert (None, None, "No errors present") == (
            rig.subcloud(1).prestage_status,
            rig.subcloud(1).prestage_versions,
            rig.subcloud(1).error_description,
        )
        assert "prestaging" == rig.subcloud(2).prestage_status

    def test_versions_tell_what_it_was_for(self, rig: Rig) -> None:
        """Each subcloud shows the release behind what its own prestage was for, an install or a deploy."""
        rig.add_strategy({1: 1, 2: 1})
        rig.connection.execute(update(steps).where(steps.c.subcloud_id == 2).values(for_sw_deploy=True))
        rig.coordinate()
        while rig.queued():
            rig.work(rig.queued()[0])

        assert ["for-install: 22.12 - for-sw-deploy: None", "for-install: None - for-sw-deploy: 22.12"] == [
            rig.subcloud(one).prestage_versions for one in (1, 2)
        ]

    def test_versions_that_a_playbook_told(self, rig: Rig) -> None:
        """What a run of the step told of its site is shown, cut to what the column takes; an older word is not."""
        rig.add_strategy({1: 1, 2: 1})
        rig.coordinate()
        while rig.queued():
            (run_id, *_) = rig.queued()
            run = rig.run(run_id)
            told = run.step_id == rig.step(1).id and run.phase == "prestaging-packages"
            rig.work(run_id, **({"facts": {"prestage_versions": "23.09.1" + "x" * 300, "count": 1}} if told else {}))

        assert ["23.09.1" + "x" * 248, "for-install: 22.12 - for-sw-deploy: None"] == [
            rig.subcloud(one).prestage_versions for one in (1, 2)
        ]

    def test_unmanaged_step(self, rig: Rig) -> None:
        """A step whose subcloud was unmanaged ends without a run, and its strategy with it."""
        rig.add_strategy({1: 1})
        rig.connection.execute(update(subclouds).values(management_state="unmanaged"))
        rig.coordinate()

        assert ("failed", "Subcloud site1 is unmanaged.") == (rig.step(1).state, rig.step(1).details)
        assert rig.strategy_state() == "failed"
        assert rig.calls() == []

    def test_retry(self, rig: Rig) -> None:
        """A lost run is consumed, and another takes its place in the same phase."""
        rig.add_strategy({1: 1})
        rig.coordinate()
        (first,) = rig.queued()
        rig.work(first, outcome=RunOutcome.LOST)
        (second,) = rig.queued()

        assert rig.step(1).run_id == second
        assert ("prestage-precheck", 2) == (rig.run(second).phase, rig.run(second).attempt)
        assert rig.run(first).consumed

    def test_moves_of_all_shapes_in_one_plan(self, rig: Rig) -> None:
        """Each step gets its own run, state and details, however many kinds of moves share a transaction."""
        rig.add_strategy({1: 1, 2: 1, 3: 1, 4: 1})
        ids = {one: rig.step(one).id for one in range(1, 5)}
        rig.carry_out(
            MoveStep(step_id=ids[1], version=1, path=(StepState.FAILED,), details="a"),
            MoveStep(step_id=ids[2], version=1, run_phase=StepState.PRECHECK),
            MoveStep(step_id=ids[3], version=1, path=(StepState.FAILED,), details="c"),
            MoveStep(step_id=ids[4], version=1, path=(StepState.IMAGES,), run_phase=StepState.IMAGES),
        )

        assert rig.states() == ["failed", "initial", "failed", "prestaging-images"]
        assert ["a", "", "c", ""] == [rig.step(one).details for one in ids]
        assert ["a", "c"] == [rig.subcloud(one).error_description for one in (1, 3)]
        for one, phase in ((2, "prestage-precheck"), (4, "prestaging-images")):
            run = rig.run(rig.step(one).run_id)
            assert (ids[one], phase) == (run.step_id, run.phase)

    def test_removed_subcloud(self, rig: Rig) -> None:
        """A step whose subcloud is gone fails like an unmanaged one, and hurts nothing."""
        rig.add_strategy({1: 1})
        rig.connection.execute(update(steps).values(subcloud_id=None))
        rig.coordinate()

        assert rig.states() == ["failed"]


class TestStrategies:
    @pytest.mark.parametrize("state", ["complete", "failed", "aborted"])
    def test_end(self, rig: Rig, state: str) -> None:
        """A strategy that ends is stamped and told of, and its password is gone."""
        strategy_id = rig.add_strategy({1: 1}, state="aborting")
        rig.carry_out(
            MoveStrategy(strategy_id=strategy_id, from_state="aborting", to_state=StrategyState(state)),
        )
        row = rig.connection.execute(select(strategies)).one()

        assert (state, AT, AT) == (row.state, row.finished_at, row.updated_at)
        assert rig.secrets() == 0
        assert [(f"strategy.prestage.{state}", f"strategy/{strategy_id}")] == rig.told()

    def test_not_an_end(self, rig: Rig) -> None:
        """A strategy that goes on keeps its password and has no end."""
        strategy_id = rig.add_strategy({1: 1}, state="abort requested")
        rig.carry_out(
            MoveStrategy(strategy_id=strategy_id, from_state="abort requested", to_state=StrategyState.ABORTING)
        )

        assert rig.connection.execute(select(strategies.c.finished_at)).scalar_one() is None
        assert rig.secrets() == 1

    def test_end_leaves_other_secrets(self, rig: Rig) -> None:
        """The end of a strategy wipes its own password and nobody else's."""
        strategy_id = rig.add_strategy({1: 1})
        rig.add_standalone(2)
        rig.carry_out(MoveStrategy(strategy_id=strategy_id, from_state="applying", to_state=StrategyState.COMPLETE))

        assert rig.secrets() == 1

    def test_standalone_end(self, rig: Rig) -> None:
        """The end of a standalone prestage wipes its password, and no earlier moment does."""
        rig.add_standalone(1)
        rig.coordinate()
        kept = [rig.secrets()]
        while rig.queued():
            rig.work(rig.queued()[0])
            kept.append(rig.secrets())

        assert kept == [1, 1, 1, 1, 0]
        assert rig.step(1).state == "complete"

    def test_state_guard(self, rig: Rig) -> None:
        """A strategy whose state has changed since the plan is not moved."""
        strategy_id = rig.add_strategy({1: 1}, state="aborting")

        with pytest.raises(StalePlanError):
            rig.carry_out(MoveStrategy(strategy_id=strategy_id, from_state="applying", to_state=StrategyState.COMPLETE))


class TestAbort:
    def test_waiting_steps(self, rig: Rig) -> None:
        """Waiting steps are aborted, those handed out but not taken too; a running one goes on to its end."""
        strategy_id = rig.add_strategy({1: 1, 2: 1, 3: 2, 4: 3})
        rig.coordinate()
        running, queued = rig.queued()
        rig.claim(running)
        rig.set_strategy("abort requested")
        rig.coordinate()

        assert rig.states() == ["prestage-precheck", "aborted", "aborted", "aborted"]
        assert rig.strategy_state() == "aborting"
        withdrawn = rig.run(queued)
        assert ("finished", "withdrawn", True) == (withdrawn.state, withdrawn.outcome, withdrawn.consumed)
        step = rig.step(2)
        assert ("", None, AT) == (step.details, step.run_id, step.finished_at)
        assert not rig.claim(queued)
        told = rig.connection.execute(
            select(events.c.data).where(events.c.type == "step.prestage.aborted")
        ).scalar_one()
        assert ["site2", "site3", "site4"] == [one["subcloud"] for one in told["steps"]]

        rig.finish(running, from_version="22.12")
        rig.coordinate()
        while rig.queued():
            rig.work(rig.queued()[0])

        assert rig.states() == ["complete", "aborted", "aborted", "aborted"]
        assert rig.strategy_state() == "aborted"
        assert [("strategy.prestage.aborted", f"strategy/{strategy_id}")] == rig.told()[-1:]

    def test_nobody_waits(self, rig: Rig) -> None:
        """An abort that finds nobody waiting aborts nobody, and tells of nobody."""
        strategy_id = rig.add_strategy({1: 1})
        rig.connection.execute(update(steps).values(state="prestaging-images"))
        rig.carry_out(AbortWaiting(strategy_id=strategy_id, change=ABORT))

        assert rig.states() == ["prestaging-images"]
        assert rig.told() == []

    def test_other_steps_are_left_alone(self, rig: Rig) -> None:
        """An abort touches no standalone prestage."""
        rig.add_strategy({1: 1})
        rig.add_standalone(2)
        rig.coordinate()
        rig.set_strategy("abort requested")
        rig.coordinate()

        assert rig.states() == ["aborted", "initial"]
        assert [rig.step(2).run_id] == rig.queued()


class TestPreparations:
    def open_one(self, rig: Rig) -> tuple[int, int]:
        """Open a preparation; return its id and the id of its run."""
        strategy_id = rig.add_strategy({1: 1, 2: 1})
        rig.carry_out(
            OpenPreparation(
                owner=(strategy_id, None),
                phase=StepState.PREPARE,
                release="22.12",
                from_version="21.12",
                opened_by_step_id=rig.step(1).id,
            )
        )
        (row,) = rig.preparations()
        return row.id, row.run_id

    def test_open(self, rig: Rig) -> None:
        """A preparation starts running, with a run of its own and a message."""
        preparation_id, run_id = self.open_one(rig)
        (row,), run = rig.preparations(), rig.run(run_id)

        assert ("running", "22.12", "21.12", rig.step(1).id) == (
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
        assert [("prepare_release", run_id)] == rig.calls()

    def test_retry(self, rig: Rig) -> None:
        """A lost run is consumed and another takes its place."""
        preparation_id, first = self.open_one(rig)
        rig.carry_out(
            RetryPreparation(preparation_id=preparation_id, phase=StepState.PREPARE, attempt=2, consumed_run_id=first)
        )
        (row,) = rig.preparations()

        assert rig.run(first).consumed
        assert (2, "queued") == (rig.run(row.run_id).attempt, rig.run(row.run_id).state)

    @pytest.mark.parametrize("state", [PreparationState.COMPLETE, PreparationState.FAILED])
    def test_end(self, rig: Rig, state: PreparationState) -> None:
        """A preparation ends once."""
        preparation_id, run_id = self.open_one(rig)
        end = EndPreparation(preparation_id=preparation_id, state=state, details="why", consumed_run_id=run_id)
        rig.carry_out(end)
        (row,) = rig.preparations()

        assert (state, "why", AT) == (row.state, row.details, row.finished_at)
        assert rig.run(run_id).consumed
        with pytest.raises(StalePlanError):
            rig.carry_out(end)

    def test_one_for_all_of_a_strategy(self, rig: Rig) -> None:
        """Steps from the same version share one preparation; its failure fails the opener and the others."""
        rig.add_strategy({1: 1, 2: 1, 3: 1, 4: 2})
        rig.coordinate()
        for run_id, version in zip(rig.queued(), ["21.12", "21.12", "22.12"], strict=True):
            rig.claim(run_id)
            rig.finish(run_id, from_version=version)
        rig.coordinate()
        (row,) = rig.preparations()
        rig.work(row.run_id, outcome=RunOutcome.FAILED, details="no feed")

        assert rig.states() == ["failed", "failed", "prestaging-packages", "initial"]
        assert rig.step(1).details.endswith("for detailed output. no feed")
        assert rig.step(2).details == "prestage-prepare: Aborted due to previous prestage-prepare failure"

        (packages,) = rig.queued()
        rig.work(packages)
        rig.work(rig.queued()[0])
        rig.work(rig.queued()[0], from_version="21.12")

        assert rig.states() == ["failed", "failed", "complete", "failed"]
        assert rig.step(4).details == "prestage-prepare: Aborted due to previous prestage-prepare failure"
        assert len(rig.preparations()) == 1


class TestUpkeep:
    def taken(self, rig: Rig) -> int:
        """Return a run that a worker holds."""
        rig.add_strategy({1: 1})
        rig.coordinate()
        (run_id,) = rig.queued()
        rig.claim(run_id)
        return run_id

    def test_expire(self, rig: Rig) -> None:
        """A passed lease takes the run away for good: its worker's report changes nothing."""
        run_id = self.taken(rig)
        rig.carry_out(ExpireRun(run_id=run_id, lease_until=rig.run(run_id).lease_until))

        assert ("finished", "lost") == (rig.run(run_id).state, rig.run(run_id).outcome)
        assert not rig.finish(run_id)

    def test_renewed_lease(self, rig: Rig) -> None:
        """A lease that was renewed after the look keeps its run, and nothing is wrong."""
        run_id = self.taken(rig)
        rig.carry_out(ExpireRun(run_id=run_id, lease_until=rig.run(run_id).lease_until - 10))

        assert rig.run(run_id).state == "running"

    def test_finished_run_is_not_expired(self, rig: Rig) -> None:
        """A run that was reported after the look keeps its outcome."""
        run_id = self.taken(rig)
        lease_until = rig.run(run_id).lease_until
        rig.finish(run_id, from_version="21.12")
        rig.carry_out(ExpireRun(run_id=run_id, lease_until=lease_until))

        assert rig.run(run_id).outcome == "succeeded"


class TestStaleness:
    def test_nothing_is_written(self, database: Database) -> None:
        """A step that has changed since the plan stops the transaction, and nothing of it stays."""
        with database.write() as connection:
            rig = Rig(connection)
            rig.add_subclouds(3)
            rig.add_strategy({1: 1, 2: 1, 3: 1})
            now = database_time(connection)
            actions = plan(load_snapshot(connection, now, LIMITS), now, LIMITS)
            # Somebody else is quicker with one of the three.
            connection.execute(update(steps).where(steps.c.subcloud_id == 2).values(version=2))
        with pytest.raises(StalePlanError), database.write() as connection:
            Rig(connection).carry_out(*actions)

        with database.read() as connection:
            assert [0, 0, 0] == [
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (runs, outbox, events)
            ]
            assert [None, None, None] == list(connection.execute(select(steps.c.run_id)).scalars())

    def test_second_preparation_is_refused_by_the_store(self, rig: Rig) -> None:
        """The store itself holds one preparation per owner, release and from-version."""
        TestPreparations().open_one(rig)
        unique = {index["name"] for index in inspect(rig.connection).get_indexes("preparations") if index["unique"]}

        assert {"uq_preparations_strategy", "uq_preparations_step"} == unique
        assert len(list(rig.connection.execute(select(preparations)))) == 1

    def test_unknown_action(self, rig: Rig) -> None:
        """An action that nobody knows how to carry out is a programming fault, not silence."""
        with pytest.raises(TypeError, match="no way to carry out str"):
            rig.carry_out("dance")  # type: ignore[arg-type]
