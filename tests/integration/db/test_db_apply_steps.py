"""Steps and strategies as the plan moves them, in a database."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from db.errors import StalePlanError
from db.schema import runs, steps, strategies, subclouds
from statemachine.actions import (
    MoveStep,
    MoveStrategy,
)
from statemachine.rollout import StepOutcome
from statemachine.states import RunOutcome, StepState, StrategyState
from tests.integration.db.db_rows import AT, InstallationRows


class TestSteps:
    def test_start(self, installation: InstallationRows) -> None:
        """A step that starts gets a queued run and a message; it begins, and is told of, when a worker takes it."""
        installation.add_strategy({1: 1})
        installation.coordinate()
        step = installation.step(1)
        run = installation.run(step.run_id)

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
        assert [("inspect_site", run.id)] == installation.calls()
        assert installation.told() == []

    def test_whole_life(self, installation: InstallationRows) -> None:
        """A step goes through the four phases, tells each, and shows its end on the subcloud."""
        strategy_id = installation.add_strategy({1: 1})
        installation.coordinate()
        seen = []
        while installation.queued():
            (run_id,) = installation.queued()
            installation.work(run_id)
            seen.append((installation.step(1).state, installation.subcloud(1).prestage_status))
        step, site = installation.step(1), installation.subcloud(1)

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
        assert installation.told() == [
            ("step.prestage.prestage-precheck", subject),
            ("step.prestage.prestage-prepare", subject),
            ("step.prestage.prestaging-packages", subject),
            ("step.prestage.prestaging-images", subject),
            ("step.prestage.complete", subject),
            ("strategy.prestage.complete", f"strategy/{strategy_id}"),
        ]
        assert [actor for actor, _ in installation.calls()] == [
            "inspect_site",
            "prepare_release",
            "stage_content",
            "stage_content",
        ]
        assert [True] * 4 == list(installation.connection.execute(select(runs.c.consumed)).scalars())

    def test_reinstall(self, installation: InstallationRows) -> None:
        """A reinstall is told as passing prepare, and needs no preparation."""
        installation.add_strategy({1: 1})
        installation.coordinate()
        installation.work(installation.queued()[0], from_version="22.12")

        assert installation.step(1).state == "prestaging-packages"
        assert installation.subcloud(1).prestage_status == "prestaging"
        assert installation.preparations() == []
        assert [kind for kind, _ in installation.told()][-2:] == [
            "step.prestage.prestage-prepare",
            "step.prestage.prestaging-packages",
        ]

    def test_failed_step(self, installation: InstallationRows) -> None:
        """A failed step shows its details on the subcloud too."""
        installation.add_strategy({1: 1, 2: 1})
        installation.coordinate()
        installation.work(installation.queued()[0], outcome=RunOutcome.FAILED, details="no route")
        step, site = installation.step(1), installation.subcloud(1)

        assert ("failed", "prestage-precheck: no route", AT) == (step.state, step.details, step.finished_at)
        assert ("failed", "prestage-precheck: no route") == (site.prestage_status, site.error_description)
        assert (None, "No errors present") == (
            installation.subcloud(2).prestage_status,
            installation.subcloud(2).error_description,
        )

    @pytest.mark.parametrize("before", [None, "failed", "complete"])
    def test_skipped_step(self, installation: InstallationRows, before: str | None) -> None:
        """A skipped step is complete and leaves the subcloud's own status as it was (8.7)."""
        installation.connection.execute(update(subclouds).values(prestage_status=before))
        installation.add_strategy({1: 1})
        installation.coordinate()
        installation.work(
            installation.queued()[0], outcome=RunOutcome.SKIPPED, details="Prestage skipped 'site1': offline."
        )

        assert ("complete", "Prestage skipped 'site1': offline.") == (
            installation.step(1).state,
            installation.step(1).details,
        )
        assert before == installation.subcloud(1).prestage_status
        assert installation.subcloud(1).prestage_versions is None

    def test_skipped_standalone(self, installation: InstallationRows) -> None:
        """A standalone prestage shows as prestaging when it is accepted; passed over after all, it shows nothing."""
        installation.connection.execute(update(subclouds).values(prestage_status="prestaging"))
        installation.add_standalone(1)
        installation.coordinate()
        installation.work(
            installation.queued()[0], outcome=RunOutcome.SKIPPED, details="Prestage skipped 'site1': offline."
        )

        assert ("complete", "Prestage skipped 'site1': offline.") == (
            installation.step(1).state,
            installation.step(1).details,
        )
        assert (None, None, "No errors present") == (
            installation.subcloud(1).prestage_status,
            installation.subcloud(1).prestage_versions,
            installation.subcloud(1).error_description,
        )
        assert "prestaging" == installation.subcloud(2).prestage_status

    def test_versions_tell_what_it_was_for(self, installation: InstallationRows) -> None:
        """Each subcloud shows the release behind what its own prestage was for, an install or a deploy."""
        installation.add_strategy({1: 1, 2: 1})
        installation.connection.execute(update(steps).where(steps.c.subcloud_id == 2).values(for_sw_deploy=True))
        installation.coordinate()
        while installation.queued():
            installation.work(installation.queued()[0])

        assert ["for-install: 22.12 - for-sw-deploy: None", "for-install: None - for-sw-deploy: 22.12"] == [
            installation.subcloud(one).prestage_versions for one in (1, 2)
        ]

    def test_versions_that_a_playbook_told(self, installation: InstallationRows) -> None:
        """What a run of the step told of its site is shown, cut to what the column takes; an older word is not."""
        installation.add_strategy({1: 1, 2: 1})
        installation.coordinate()
        while installation.queued():
            (run_id, *_) = installation.queued()
            run = installation.run(run_id)
            told = run.step_id == installation.step(1).id and run.phase == "prestaging-packages"
            installation.work(
                run_id, **({"facts": {"prestage_versions": "23.09.1" + "x" * 300, "count": 1}} if told else {})
            )

        assert ["23.09.1" + "x" * 248, "for-install: 22.12 - for-sw-deploy: None"] == [
            installation.subcloud(one).prestage_versions for one in (1, 2)
        ]

    def test_unmanaged_step(self, installation: InstallationRows) -> None:
        """A step whose subcloud was unmanaged ends without a run, and its strategy with it."""
        installation.add_strategy({1: 1})
        installation.connection.execute(update(subclouds).values(management_state="unmanaged"))
        installation.coordinate()

        assert ("failed", "Subcloud site1 is unmanaged.") == (installation.step(1).state, installation.step(1).details)
        assert installation.strategy_state() == "failed"
        assert installation.calls() == []

    def test_retry(self, installation: InstallationRows) -> None:
        """A lost run is consumed, and another takes its place in the same phase."""
        installation.add_strategy({1: 1})
        installation.coordinate()
        (first,) = installation.queued()
        installation.work(first, outcome=RunOutcome.LOST)
        (second,) = installation.queued()

        assert installation.step(1).run_id == second
        assert ("prestage-precheck", 2) == (installation.run(second).phase, installation.run(second).attempt)
        assert installation.run(first).consumed

    def test_moves_of_all_shapes_in_one_plan(self, installation: InstallationRows) -> None:
        """Each step gets its own run, state and details, however many kinds of moves share a transaction."""
        installation.add_strategy({1: 1, 2: 1, 3: 1, 4: 1})
        ids = {one: installation.step(one).id for one in range(1, 5)}
        installation.carry_out(
            MoveStep(step_id=ids[1], version=1, path=(StepState.FAILED,), details="a"),
            MoveStep(step_id=ids[2], version=1, run_phase=StepState.PRECHECK),
            MoveStep(step_id=ids[3], version=1, path=(StepState.FAILED,), details="c"),
            MoveStep(step_id=ids[4], version=1, path=(StepState.IMAGES,), run_phase=StepState.IMAGES),
        )

        assert installation.states() == ["failed", "initial", "failed", "prestaging-images"]
        assert ["a", "", "c", ""] == [installation.step(one).details for one in ids]
        assert ["a", "c"] == [installation.subcloud(one).error_description for one in (1, 3)]
        for one, phase in ((2, "prestage-precheck"), (4, "prestaging-images")):
            run = installation.run(installation.step(one).run_id)
            assert (ids[one], phase) == (run.step_id, run.phase)

    def test_move_without_a_run(self, installation: InstallationRows) -> None:
        """A step that stays without a run keeps state and details, and the row has its next attempt and its place."""
        installation.add_strategy({1: 1, 2: 1})
        installation.connection.execute(update(steps).values(state="prestaging-packages", details="so far"))
        ids = [installation.step(one).id for one in (1, 2)]
        installation.carry_out(
            MoveStep(step_id=ids[0], version=1, attempt=2, preparing=True),
            MoveStep(step_id=ids[1], version=1, path=(StepState.FAILED,), details="why", outcome=StepOutcome.FAILED),
        )
        stays, ended = installation.step(1), installation.step(2)

        assert ("prestaging-packages", "so far", None, 2, True) == (
            stays.state,
            stays.details,
            stays.run_id,
            stays.attempt,
            stays.preparing,
        )
        assert (None, None, 2) == (stays.outcome, stays.finished_at, stays.version)
        assert ("failed", AT) == (ended.outcome, ended.finished_at)

    def test_removed_subcloud(self, installation: InstallationRows) -> None:
        """A step whose subcloud is gone fails like an unmanaged one, and hurts nothing."""
        installation.add_strategy({1: 1})
        installation.connection.execute(update(steps).values(subcloud_id=None))
        installation.coordinate()

        assert installation.states() == ["failed"]


class TestStrategies:
    @pytest.mark.parametrize("state", ["complete", "failed", "aborted"])
    def test_end(self, installation: InstallationRows, state: str) -> None:
        """A strategy that ends is stamped and told of, and its password is gone."""
        strategy_id = installation.add_strategy({1: 1}, state="aborting")
        installation.carry_out(
            MoveStrategy(strategy_id=strategy_id, from_state="aborting", to_state=StrategyState(state)),
        )
        row = installation.connection.execute(select(strategies)).one()

        assert (state, AT, AT) == (row.state, row.finished_at, row.updated_at)
        assert installation.secrets() == 0
        assert [(f"strategy.prestage.{state}", f"strategy/{strategy_id}")] == installation.told()

    def test_not_an_end(self, installation: InstallationRows) -> None:
        """A strategy that goes on keeps its password and has no end."""
        strategy_id = installation.add_strategy({1: 1}, state="abort requested")
        installation.carry_out(
            MoveStrategy(strategy_id=strategy_id, from_state="abort requested", to_state=StrategyState.ABORTING)
        )

        assert installation.connection.execute(select(strategies.c.finished_at)).scalar_one() is None
        assert installation.secrets() == 1

    def test_end_leaves_other_secrets(self, installation: InstallationRows) -> None:
        """The end of a strategy wipes its own password and nobody else's."""
        strategy_id = installation.add_strategy({1: 1})
        installation.add_standalone(2)
        installation.carry_out(
            MoveStrategy(strategy_id=strategy_id, from_state="applying", to_state=StrategyState.COMPLETE)
        )

        assert installation.secrets() == 1

    def test_standalone_end(self, installation: InstallationRows) -> None:
        """The end of a standalone prestage wipes its password, and no earlier moment does."""
        installation.add_standalone(1)
        installation.coordinate()
        kept = [installation.secrets()]
        while installation.queued():
            installation.work(installation.queued()[0])
            kept.append(installation.secrets())

        assert kept == [1, 1, 1, 1, 0]
        assert installation.step(1).state == "complete"

    def test_state_guard(self, installation: InstallationRows) -> None:
        """A strategy whose state has changed since the plan is not moved."""
        strategy_id = installation.add_strategy({1: 1}, state="aborting")

        with pytest.raises(StalePlanError):
            installation.carry_out(
                MoveStrategy(strategy_id=strategy_id, from_state="applying", to_state=StrategyState.COMPLETE)
            )
