from __future__ import annotations

from dataclasses import replace

import pytest

from statemachine.actions import (
    AbortWaiting,
    Action,
    EndPreparation,
    ExpireRun,
    MoveStep,
    MoveStrategy,
    OpenPreparation,
    RetryPreparation,
    StepChange,
)
from statemachine.plan import plan
from statemachine.snapshot import PlanLimits, PreparationView, RunView, Snapshot, StepView, StrategyView
from statemachine.states import PreparationState, StepState, StrategyState
from statemachine.step_details import DETAILS_LENGTH

NOW = 1000.0
PREPARE = StepState.PREPARE
ABORT = StepChange(from_state=StepState.INITIAL, to_state=StepState.ABORTED)
LIMITS = PlanLimits(max_attempts=3)
STRATEGY = StrategyView(
    id=1, state="applying", stop_on_failure=False, open_stage=1, failed_stage=None, any_aborted=False
)
STEP = StepView(
    id=11,
    strategy_id=1,
    stage=1,
    state="initial",
    version=7,
    subcloud_name="site11",
    managed=True,
    release="22.12",
)
RUN = RunView(id=21, phase="prestage-precheck", attempt=1, state="queued")
PREPARATION = PreparationView(
    id=31, owner=(1, None), release="22.12", from_version="21.12", opened_by_step_id=11, state="running"
)
PARKED = replace(STEP, state="prestage-prepare", from_version="21.12")


def decide(
    *steps: StepView, strategy: StrategyView | None = STRATEGY, preparations: tuple[PreparationView, ...] = ()
) -> list[Action]:
    return plan(Snapshot(strategy=strategy, steps=steps, preparations=preparations), NOW, LIMITS)


def finished(phase: str, outcome: str, *, attempt: int = 1, details: str = "") -> RunView:
    return replace(RUN, phase=phase, state="finished", outcome=outcome, attempt=attempt, details=details)


def in_phase(phase: str, outcome: str, *, attempt: int = 1, details: str = "") -> StepView:
    run = finished(phase, outcome, attempt=attempt, details=details)
    return replace(STEP, state=phase, from_version="21.12", run=run)


class TestStrategy:
    def test_nothing_at_all(self) -> None:
        """Without rows there is nothing to do."""
        assert decide(strategy=None) == []

    @pytest.mark.parametrize("state", ["initial", "complete", "failed", "aborted", "deleting"])
    def test_resting_strategy(self, state: str) -> None:
        """A strategy that is not applied, or has ended, starts and ends nothing."""
        assert decide(STEP, strategy=replace(STRATEGY, state=state, open_stage=None)) == []

    @pytest.mark.parametrize(
        ("state", "failed_stage", "any_aborted", "expected"),
        [
            ("applying", None, False, StrategyState.COMPLETE),
            ("applying", 1, False, StrategyState.FAILED),
            ("aborting", None, False, StrategyState.COMPLETE),
            ("aborting", None, True, StrategyState.ABORTED),
            ("aborting", 2, False, StrategyState.FAILED),
            ("aborting", 2, True, StrategyState.FAILED),
        ],
    )
    def test_ending(self, state: str, failed_stage: int | None, any_aborted: bool, expected: StrategyState) -> None:
        """When every step has ended the strategy does: failed over aborted over complete (7.1)."""
        strategy = replace(STRATEGY, state=state, open_stage=None, failed_stage=failed_stage, any_aborted=any_aborted)

        assert [MoveStrategy(strategy_id=1, from_state=state, to_state=expected)] == decide(strategy=strategy)

    @pytest.mark.parametrize("state", ["applying", "aborting"])
    def test_open_steps_keep_it_going(self, state: str) -> None:
        """A strategy with a step that works does not end, whatever has failed before."""
        working = replace(STEP, state="prestaging-images", run=replace(RUN, phase="prestaging-images"))

        assert decide(working, strategy=replace(STRATEGY, state=state, failed_stage=1)) == []

    def test_abort(self) -> None:
        """A requested abort stops the waiting steps and goes on to `aborting`; nothing starts."""
        expected = [
            AbortWaiting(strategy_id=1, change=ABORT),
            MoveStrategy(strategy_id=1, from_state="abort requested", to_state=StrategyState.ABORTING),
        ]

        assert expected == decide(STEP, strategy=replace(STRATEGY, state="abort requested"))

    def test_abort_lets_running_steps_finish(self) -> None:
        """While aborting, a step that has begun goes on to its next phase (8.4)."""
        (move,) = decide(in_phase("prestaging-packages", "succeeded"), strategy=replace(STRATEGY, state="aborting"))

        assert isinstance(move, MoveStep)
        assert move.run_phase == StepState.IMAGES


class TestStopOnFailure:
    HALTED = replace(STRATEGY, stop_on_failure=True, failed_stage=1, open_stage=2)

    def test_later_stage_never_starts(self) -> None:
        """When the failed stage has ended the strategy fails, and the steps behind it stay as they are (8.3)."""
        expected = [MoveStrategy(strategy_id=1, from_state="applying", to_state=StrategyState.FAILED)]

        assert expected == decide(replace(STEP, stage=2), strategy=self.HALTED)

    def test_stage_of_the_failure_finishes(self) -> None:
        """The other steps of the failed stage finish their phases before the strategy fails."""
        (move,) = decide(in_phase("prestaging-packages", "succeeded"), strategy=replace(self.HALTED, open_stage=1))

        assert isinstance(move, MoveStep)

    def test_nothing_starts_in_the_failed_stage(self) -> None:
        """A step of the failed stage that has not begun does not begin."""
        assert decide(STEP, strategy=replace(self.HALTED, open_stage=1)) == []

    def test_without_the_option_the_next_stage_starts(self) -> None:
        """Without stop-on-failure a failure holds up nothing (8.2)."""
        (move,) = decide(replace(STEP, stage=2), strategy=replace(self.HALTED, stop_on_failure=False))

        assert isinstance(move, MoveStep)
        assert move.run_phase == StepState.PRECHECK


class TestStart:
    def test_stage_starts_in_one_pass(self) -> None:
        """All waiting steps of the open stage are handed out at once, and none of a later one (8.2)."""
        steps = [STEP, replace(STEP, id=12), replace(STEP, id=13, stage=2)]

        expected = [MoveStep(step_id=one, version=7, run_phase=StepState.PRECHECK) for one in (11, 12)]
        assert expected == decide(*steps)

    def test_unmanaged(self) -> None:
        """A subcloud that was unmanaged before its step began fails it with the contract's text (8.8)."""
        expected = MoveStep(step_id=11, version=7, path=(StepState.FAILED,), details="Subcloud site11 is unmanaged.")

        assert [expected] == decide(replace(STEP, managed=False))

    def test_unmanaged_later(self) -> None:
        """A subcloud that is unmanaged after its step began runs on (8.8)."""
        (move,) = decide(replace(in_phase("prestaging-packages", "succeeded"), managed=False))

        assert isinstance(move, MoveStep)
        assert move.run_phase == StepState.IMAGES

    @pytest.mark.parametrize(
        "strategy",
        [None, replace(STRATEGY, id=2), replace(STRATEGY, state="aborting"), replace(STRATEGY, open_stage=2)],
    )
    def test_not_its_turn(self, strategy: StrategyView | None) -> None:
        """A step begins only for its own strategy, while that is applied, in the open stage."""
        assert decide(STEP, strategy=strategy) == []

    @pytest.mark.parametrize("strategy", [None, replace(STRATEGY, state="initial")])
    def test_standalone_starts_at_once(self, strategy: StrategyView | None) -> None:
        """A standalone prestage waits for no strategy."""
        expected = MoveStep(step_id=11, version=7, run_phase=StepState.PRECHECK)

        assert [expected] == decide(replace(STEP, strategy_id=None), strategy=strategy)

    def test_handed_out_step_is_left_alone(self) -> None:
        """A step whose run waits for a worker is not handed out again."""
        assert decide(replace(STEP, run=RUN)) == []


class TestPhases:
    def test_precheck_passed(self) -> None:
        """After precheck an upgrade parks in prepare without a run of its own."""
        expected = MoveStep(step_id=11, version=7, path=(StepState.PREPARE,), consumed_run_id=21)

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
        expected = MoveStep(step_id=11, version=7, path=(StepState.COMPLETE,), consumed_run_id=21)

        assert [expected] == decide(in_phase("prestaging-images", "succeeded"))

    def test_precheck_failed(self) -> None:
        """A failed precheck ends the step with its reason."""
        expected = MoveStep(
            step_id=11,
            version=7,
            path=(StepState.FAILED,),
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

    @pytest.mark.parametrize("state", ["prestage-precheck", "prestaging-packages"])
    def test_phase_without_a_run(self, state: str) -> None:
        """A step in a phase without a run is nothing that the plan makes, and it touches it not."""
        assert decide(replace(STEP, state=state)) == []


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


class TestPreparation:
    def test_first_step_opens_it(self) -> None:
        """Of the steps that need the same preparation the first opens it; one per from-version and owner."""
        alone = replace(PARKED, id=14, strategy_id=None)
        steps = [PARKED, replace(PARKED, id=12), replace(PARKED, id=13, from_version="22.06"), alone]

        expected = [
            OpenPreparation(
                owner=(1, None), phase=PREPARE, release="22.12", from_version="21.12", opened_by_step_id=11
            ),
            OpenPreparation(
                owner=(1, None), phase=PREPARE, release="22.12", from_version="22.06", opened_by_step_id=13
            ),
            OpenPreparation(
                owner=(None, 14), phase=PREPARE, release="22.12", from_version="21.12", opened_by_step_id=14
            ),
        ]
        assert expected == decide(*steps)

    def test_unknown_version_is_a_version(self) -> None:
        """A site whose version nobody knows is prepared for as such."""
        expected = OpenPreparation(
            owner=(1, None), phase=PREPARE, release="22.12", from_version="", opened_by_step_id=11
        )

        assert [expected] == decide(replace(PARKED, from_version=None))

    def test_wait(self) -> None:
        """While the preparation runs the steps that need it wait."""
        assert decide(PARKED, preparations=(PREPARATION,)) == []

    @pytest.mark.parametrize("step", [PARKED, replace(PARKED, strategy_id=None)])
    def test_preparation_of_another_owner_is_another(self, step: StepView) -> None:
        """What was prepared for one owner serves no other."""
        other = replace(PREPARATION, owner=(None, 99), state="complete")

        assert [OpenPreparation] == [type(action) for action in decide(step, preparations=(other,))]

    def test_complete_wakes_all(self) -> None:
        """When it is complete every parked step goes on to packages."""
        done = replace(PREPARATION, state="complete")

        expected = [
            MoveStep(step_id=one, version=7, path=(StepState.PACKAGES,), run_phase=StepState.PACKAGES)
            for one in (11, 12)
        ]
        assert expected == decide(PARKED, replace(PARKED, id=12), preparations=(done,))

    def test_failed_fails_all(self) -> None:
        """When it has failed its opener fails with the reason, the others at once with the contract's text (8.6)."""
        broken = replace(PREPARATION, state="failed", details="no feed")

        opener, other = decide(PARKED, replace(PARKED, id=12), preparations=(broken,))

        assert isinstance(opener, MoveStep)
        assert isinstance(other, MoveStep)
        assert (StepState.FAILED,) == opener.path == other.path
        assert opener.details == (
            "prestage-prepare: Prestaging prepare failed for subcloud site11, check individual log at "
            "/v1.0/sw-update-strategy/steps/site11/log?phase=prestage-prepare for detailed output. no feed"
        )
        assert other.details == "prestage-prepare: Aborted due to previous prestage-prepare failure"

    def test_run_succeeded(self) -> None:
        """A run that succeeded completes the preparation."""
        expected = EndPreparation(preparation_id=31, state=PreparationState.COMPLETE, details="", consumed_run_id=21)
        run = finished("prestage-prepare", "succeeded")

        assert [expected] == decide(PARKED, preparations=(replace(PREPARATION, run=run),))

    @pytest.mark.parametrize("outcome", ["failed", "skipped", "withdrawn"])
    def test_run_failed(self, outcome: str) -> None:
        """A run that failed, or came to nothing, fails the preparation with its reason; it is tried once."""
        expected = EndPreparation(
            preparation_id=31, state=PreparationState.FAILED, details="no feed", consumed_run_id=21
        )
        run = finished("prestage-prepare", outcome, details="no feed")

        assert [expected] == decide(preparations=(replace(PREPARATION, run=run),))

    def test_run_lost(self) -> None:
        """Only a lost attempt is repeated."""
        run = finished("prestage-prepare", "lost", attempt=2)

        expected = RetryPreparation(preparation_id=31, phase=PREPARE, attempt=3, consumed_run_id=21)
        assert [expected] == decide(preparations=(replace(PREPARATION, run=run),))

    def test_run_drained(self) -> None:
        """A preparation whose worker was stopped in good order goes on, even at the last attempt."""
        run = finished("prestage-prepare", "drained", attempt=3)

        expected = RetryPreparation(preparation_id=31, phase=PREPARE, attempt=3, consumed_run_id=21)
        assert [expected] == decide(preparations=(replace(PREPARATION, run=run),))

    def test_run_lost_too_often(self) -> None:
        """After the last attempt the preparation fails and says how often it was tried."""
        run = finished("prestage-prepare", "lost", attempt=3)

        (end,) = decide(preparations=(replace(PREPARATION, run=run),))

        assert isinstance(end, EndPreparation)
        assert end.state == PreparationState.FAILED
        assert end.details == "The worker was lost during the run, 3 time(s) in all; no attempt is left."

    @pytest.mark.parametrize("state", ["complete", "failed"])
    def test_ended_preparation_is_left_alone(self, state: str) -> None:
        """A preparation that has ended is not ended again."""
        ended = replace(PREPARATION, state=state, run=finished("prestage-prepare", "succeeded"))

        assert decide(preparations=(ended,)) == []

    def test_reinstall_is_not_affected(self) -> None:
        """A failed preparation does not touch a site that needs none (8.6)."""
        broken = replace(PREPARATION, state="failed")
        step = replace(in_phase("prestage-precheck", "succeeded"), from_version="22.12")

        (move,) = decide(step, preparations=(broken,))

        assert isinstance(move, MoveStep)
        assert move.run_phase == StepState.PACKAGES


class TestUnlocks:
    @pytest.mark.parametrize(
        ("action", "expected"),
        [
            (AbortWaiting(strategy_id=1, change=ABORT), True),
            (MoveStrategy(strategy_id=1, from_state="initial", to_state=StrategyState.APPLYING), False),
            (MoveStep(step_id=1, version=1, path=(StepState.FAILED,)), True),
            (MoveStep(step_id=1, version=1, path=(StepState.IMAGES,), run_phase=StepState.IMAGES), False),
            (MoveStep(step_id=1, version=1, run_phase=StepState.PRECHECK), False),
            (
                OpenPreparation(owner=(1, None), phase=PREPARE, release="1.0", from_version="", opened_by_step_id=1),
                False,
            ),
            (RetryPreparation(preparation_id=1, phase=PREPARE, attempt=2, consumed_run_id=1), False),
            (EndPreparation(preparation_id=1, state=PreparationState.FAILED, details="", consumed_run_id=1), True),
            (ExpireRun(run_id=1, lease_until=1.0), True),
        ],
    )
    def test_what_lets_others_move(self, action: Action, expected: bool) -> None:
        """Only what ends or frees something calls for another plan."""
        assert expected is bool(action.unlocks)
