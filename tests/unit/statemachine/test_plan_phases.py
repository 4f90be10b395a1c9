"""The plan for steps: what follows the end of a run, and runs whose worker is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from statemachine.actions import (
    ExpireRun,
    MoveStep,
)
from statemachine.rollout import StepOutcome
from statemachine.states import StepState
from statemachine.step_details import DETAILS_LENGTH
from tests.unit.statemachine.plan_views import (
    NOW,
    PREPARATION,
    RUN,
    STEP,
    decide,
    in_phase,
)


class TestPhases:
    def test_precheck_passed(self) -> None:
        """After precheck an upgrade waits in prepare without a run of its own, and keeps its place in flight."""
        expected = MoveStep(step_id=11, version=7, path=(StepState.PREPARE,), preparing=True, consumed_run_id=21)

        assert [expected] == decide(in_phase("prestage-precheck", "succeeded"))

    def test_a_removal_has_one_phase_after_its_precheck(self) -> None:
        """A step that removes a release prepares and stages nothing, and is complete after its one playbook."""
        step = replace(in_phase("prestage-precheck", "succeeded"), type="unstage", strategy_id=None)
        removing = replace(in_phase("unstaging", "succeeded"), type="unstage", strategy_id=None)

        (begun,), (ended,) = decide(step, strategy=None), decide(removing, strategy=None)

        assert isinstance(begun, MoveStep)
        assert isinstance(ended, MoveStep)
        assert (("unstaging",), "unstaging") == (begun.path, begun.run_phase)
        assert (("complete",), None, "") == (ended.path, ended.run_phase, ended.details)

    def test_a_removal_is_never_skipped(self) -> None:
        """A removal whose precheck was skipped, as by a worker of an older release, has failed: nothing was removed."""
        step = replace(in_phase("prestage-precheck", "skipped", details="busy"), type="unstage", strategy_id=None)

        (ended,) = decide(step, strategy=None)

        assert isinstance(ended, MoveStep)
        assert (("failed",), "prestage-precheck: busy") == (ended.path, ended.details)

    def test_reinstall_passes_prepare(self) -> None:
        """A site that runs the release already goes through prepare without preparing (8.9)."""
        step = replace(in_phase("prestage-precheck", "succeeded"), from_version="22.12")

        expected = MoveStep(
            step_id=11,
            version=7,
            path=(StepState.PREPARE, StepState.PACKAGES),
            run_phase=StepState.PACKAGES,
            consumed_run_id=21,
        )
        assert [expected] == decide(step)

    def test_skip(self) -> None:
        """A skipped site is complete, with the bare reason (8.7)."""
        step = in_phase("prestage-precheck", "skipped", details="Prestage skipped 'site11': Subcloud is offline.")

        expected = MoveStep(
            step_id=11,
            version=7,
            path=(StepState.COMPLETE,),
            outcome=StepOutcome.SKIPPED,
            details="Prestage skipped 'site11': Subcloud is offline.",
            consumed_run_id=21,
        )
        assert [expected] == decide(step)

    def test_long_skip_reason_fits(self) -> None:
        """A reason of any length fits the details of the step."""
        (move,) = decide(in_phase("prestage-precheck", "skipped", details="x" * 5000))

        assert isinstance(move, MoveStep)
        assert len(move.details) == DETAILS_LENGTH

    @pytest.mark.parametrize("phase", ["prestaging-packages", "prestaging-images"])
    def test_only_precheck_skips(self, phase: str) -> None:
        """A playbook that reports `skipped` fails its step: no false `complete`, and no plan that breaks for all."""
        (move,) = decide(in_phase(phase, "skipped", details="not here"))

        assert isinstance(move, MoveStep)
        assert move.path == (StepState.FAILED,)
        assert move.details.startswith(f"{phase}: ")
        assert move.details.endswith(" not here")

    def test_packages_done(self) -> None:
        """After packages come images."""
        expected = MoveStep(
            step_id=11, version=7, path=(StepState.IMAGES,), run_phase=StepState.IMAGES, consumed_run_id=21
        )

        assert [expected] == decide(in_phase("prestaging-packages", "succeeded"))

    def test_images_done(self) -> None:
        """After images the step is complete, with nothing in its details."""
        expected = MoveStep(
            step_id=11, version=7, path=(StepState.COMPLETE,), outcome=StepOutcome.COMPLETE, consumed_run_id=21
        )

        assert [expected] == decide(in_phase("prestaging-images", "succeeded"))

    def test_precheck_failed(self) -> None:
        """A failed precheck ends the step with its reason."""
        expected = MoveStep(
            step_id=11,
            version=7,
            path=(StepState.FAILED,),
            outcome=StepOutcome.FAILED,
            details="prestage-precheck: no route",
            consumed_run_id=21,
        )

        assert [expected] == decide(in_phase("prestage-precheck", "failed", details="no route"))

    @pytest.mark.parametrize("phase", ["prestaging-packages", "prestaging-images"])
    def test_playbook_failed(self, phase: str) -> None:
        """A failed playbook ends the step with the contract's text."""
        (move,) = decide(in_phase(phase, "failed", details="disk full"))

        assert isinstance(move, MoveStep)
        assert move.path == (StepState.FAILED,)
        assert move.details.startswith(f"{phase}: Prestaging {phase.removeprefix('prestaging-')} failed for subcloud")
        assert move.details.endswith("disk full")

    @pytest.mark.parametrize("phase", ["prestage-precheck", "prestaging-packages", "prestaging-images"])
    def test_lost_is_tried_again(self, phase: str) -> None:
        """A phase whose worker was lost is tried again, and stays where it is."""
        expected = MoveStep(step_id=11, version=7, run_phase=StepState(phase), attempt=3, consumed_run_id=21)

        assert [expected] == decide(in_phase(phase, "lost", attempt=2))

    @pytest.mark.parametrize("phase", ["prestage-precheck", "prestaging-packages", "prestaging-images"])
    def test_drained_costs_no_attempt(self, phase: str) -> None:
        """A phase whose worker was stopped in good order goes on, even at the last attempt."""
        expected = MoveStep(step_id=11, version=7, run_phase=StepState(phase), attempt=3, consumed_run_id=21)

        assert [expected] == decide(in_phase(phase, "drained", attempt=3))

    def test_lost_too_often(self) -> None:
        """After the last attempt the step fails and says how often it was tried."""
        (move,) = decide(in_phase("prestage-precheck", "lost", attempt=3))

        assert isinstance(move, MoveStep)
        assert move.path == (StepState.FAILED,)
        assert move.details == (
            "prestage-precheck: The worker was lost during the run, 3 time(s) in all; no attempt is left."
        )

    def test_outcome_of_another_phase_is_old_news(self) -> None:
        """A finished run of a phase that the step has left says nothing any more."""
        assert decide(replace(in_phase("prestage-precheck", "succeeded"), state="prestaging-packages")) == []

    @pytest.mark.parametrize("strategy_id", [1, None])
    @pytest.mark.parametrize("state", ["prestage-precheck", "prestaging-packages"])
    def test_parked_step_goes_on(self, state: str, strategy_id: int | None) -> None:
        """A step in a phase without a run gets one, at the attempt that it had."""
        parked = replace(STEP, state=state, strategy_id=strategy_id, attempt=2)

        assert [MoveStep(step_id=11, version=7, run_phase=StepState(state), attempt=2)] == decide(parked)


class TestUpkeep:
    WORKING = replace(STEP, state="prestaging-packages")

    def test_lease_of_before_a_step_back(self) -> None:
        """A lease that ends later than any can was written before the clock was set back: it is over."""
        run = replace(RUN, phase="prestaging-packages", state="running", lease_until=NOW + 3600)

        assert [ExpireRun(run_id=21, lease_until=NOW + 3600)] == decide(replace(self.WORKING, run=run))

    @pytest.mark.parametrize("lease_until", [NOW, NOW + 1, None])
    def test_held_lease(self, lease_until: float | None) -> None:
        """A lease that has not passed keeps its run."""
        run = replace(RUN, phase="prestaging-packages", state="running", lease_until=lease_until)

        assert decide(replace(self.WORKING, run=run)) == []

    def test_passed_lease(self) -> None:
        """A passed lease takes the run away, naming the lease that was seen."""
        run = replace(RUN, phase="prestaging-packages", state="running", lease_until=NOW - 0.5)

        assert [ExpireRun(run_id=21, lease_until=NOW - 0.5)] == decide(replace(self.WORKING, run=run))

    def test_queued_run(self) -> None:
        """A run that was handed out is left to the workers, who look for it by themselves."""
        run = replace(RUN, phase="prestaging-packages")

        assert decide(replace(self.WORKING, run=run)) == []

    def test_same_for_preparations(self) -> None:
        """Runs of preparations are kept alive in the same way."""
        passed = replace(RUN, phase="prestage-prepare", state="running", lease_until=NOW - 1)

        assert [ExpireRun(run_id=21, lease_until=NOW - 1)] == decide(preparations=(replace(PREPARATION, run=passed),))
