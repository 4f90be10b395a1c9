"""The plan for strategies: their beginning, stages and end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from statemachine.actions import (
    AbortWaiting,
    MoveStep,
    MoveStrategy,
)
from statemachine.rollout import StepOutcome
from statemachine.snapshot import StrategyView
from statemachine.states import StepState, StrategyState
from tests.unit.statemachine.plan_views import (
    ABORT,
    RUN,
    STEP,
    STRATEGY,
    decide,
    in_phase,
)


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
            ("applying", None, True, StrategyState.ABORTED),
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
        strategy = replace(self.HALTED, open_stage=1, any_begun=True)
        (move,) = decide(in_phase("prestaging-packages", "succeeded"), strategy=strategy)

        assert isinstance(move, MoveStep)

    def test_nothing_starts_in_the_failed_stage(self) -> None:
        """A step of the failed stage that has not begun does not begin."""
        assert decide(STEP, strategy=replace(self.HALTED, open_stage=1, any_begun=True)) == []

    def test_step_that_was_withdrawn_keeps_nothing_open(self) -> None:
        """A halted strategy fails when nothing is in flight or parked, also with waiting steps in the failed stage."""
        expected = [MoveStrategy(strategy_id=1, from_state="applying", to_state=StrategyState.FAILED)]

        assert expected == decide(STEP, strategy=replace(self.HALTED, open_stage=1))

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
        expected = MoveStep(
            step_id=11,
            version=7,
            path=(StepState.FAILED,),
            outcome=StepOutcome.FAILED,
            details="Subcloud site11 is unmanaged.",
        )

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
