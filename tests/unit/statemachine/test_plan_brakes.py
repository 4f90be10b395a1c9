"""The plan with a failure budget, a cancel and a time limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from statemachine.actions import (
    AbortWaiting,
    EndHolds,
    EndPreparation,
    MoveStep,
    MoveStrategy,
    OpenHold,
    RequestCancel,
    RetryPreparation,
    WithdrawRuns,
)
from statemachine.rollout import HoldKind, HoldScope, OnBudget, OnTimeLimit, StepOutcome
from statemachine.snapshot import HoldView, StrategyView
from statemachine.states import PreparationState, StepState, StrategyState
from tests.unit.statemachine.plan_views import (
    ABORT,
    NOW,
    PREPARATION,
    RUN,
    STEP,
    STRATEGY,
    decide,
    finished,
    in_phase,
)

BUDGET = HoldView(id=41, kind=HoldKind.BUDGET, scope=HoldScope.STARTS)


def over(max_failures: int, *, failed: int | None = None, on_budget: str = OnBudget.PAUSE) -> StrategyView:
    failures = max_failures + 1 if failed is None else failed
    return replace(
        STRATEGY, max_failures=max_failures, failed=failures, failed_stage=1, on_budget=on_budget, any_begun=True
    )


class TestBudget:
    def test_hold(self) -> None:
        """An exceeded budget holds the strategy once, and nothing starts in that plan."""
        (hold,) = decide(STEP, strategy=over(2))

        expected = OpenHold(
            strategy_id=1,
            kind=HoldKind.BUDGET,
            scope=HoldScope.STARTS,
            reason="More sites failed than max-failures, 2, allows.",
        )
        assert expected == hold
        assert decide(STEP, strategy=over(2), holds=(BUDGET,)) == []

    @pytest.mark.parametrize(("max_failures", "failed"), [(0, 0), (1, 1), (3, 0)])
    def test_within(self, max_failures: int, failed: int) -> None:
        """As many failures as the budget has hold nothing; with none allowed the first one exceeds it."""
        (move,) = decide(STEP, strategy=over(max_failures, failed=failed))

        assert isinstance(move, MoveStep)
        assert isinstance(decide(STEP, strategy=over(max_failures))[0], OpenHold)

    def test_the_plan_ends_no_hold(self) -> None:
        """A hold of the budget stays when the budget is kept again; a command ends it."""
        assert decide(STEP, strategy=over(2, failed=1), holds=(BUDGET,)) == []

    def test_what_has_begun_goes_on(self) -> None:
        """Steps that have started go on to their end when the budget is exceeded."""
        hold, move = decide(in_phase("prestaging-packages", "succeeded"), strategy=over(0))

        assert isinstance(hold, OpenHold)
        assert isinstance(move, MoveStep)

    def test_while_aborting(self) -> None:
        """An exceeded budget holds nothing while the strategy aborts."""
        assert decide(strategy=replace(over(0), state="aborting")) == []

    def test_stop_withdraws(self) -> None:
        """A budget that stops the strategy withdraws what is handed out; what has started goes on."""
        begun = replace(STEP, id=12, state="prestage-precheck", run=replace(RUN, id=22))

        assert [WithdrawRuns(run_ids=(21,))] == decide(
            replace(STEP, run=RUN), begun, strategy=over(0, on_budget=OnBudget.STOP)
        )

    def test_stop_ends(self) -> None:
        """A strategy that its budget stopped fails when nothing is in flight or parked."""
        strategy = replace(over(0, on_budget=OnBudget.STOP), any_begun=False)

        expected = [MoveStrategy(strategy_id=1, from_state="applying", to_state=StrategyState.FAILED)]
        assert expected == decide(STEP, strategy=strategy)

    def test_stop_on_failure_withdraws_nothing(self) -> None:
        """Stop-on-failure lets the handed-out steps of the stage go through (8.3)."""
        strategy = replace(STRATEGY, stop_on_failure=True, failed_stage=1, any_begun=True)

        assert decide(replace(STEP, run=RUN), strategy=strategy) == []

    def test_other_strategies_steps(self) -> None:
        """A budget that stops one strategy withdraws no step of no strategy."""
        alone = replace(STEP, strategy_id=None, run=RUN)

        assert decide(alone, strategy=over(0, on_budget=OnBudget.STOP)) == []
        assert decide(alone, strategy=None) == []


class TestCancel:
    @pytest.mark.parametrize("strategy_id", [1, None])
    @pytest.mark.parametrize(
        ("state", "details"),
        [
            ("initial", "cancelled before it started by alice"),
            ("prestage-prepare", "cancelled in prestage-prepare by alice"),
            ("prestaging-images", "cancelled in prestaging-images by alice"),
        ],
    )
    def test_without_a_run(self, state: str, details: str, strategy_id: int | None) -> None:
        """A step that has not started, waits for a preparation or is parked ends at once."""
        step = replace(STEP, state=state, strategy_id=strategy_id, cancel_requested=True, cancel_requested_by="alice")

        expected = MoveStep(
            step_id=11, version=7, path=(StepState.ABORTED,), outcome=StepOutcome.CANCELLED, details=details
        )
        assert [expected] == decide(step)

    @pytest.mark.parametrize("strategy_id", [1, None])
    def test_handed_out(self, strategy_id: int | None) -> None:
        """The queued run of a marked step is withdrawn; the step ends after that."""
        step = replace(STEP, run=RUN, strategy_id=strategy_id, cancel_requested=True)

        assert [WithdrawRuns(run_ids=(21,))] == decide(step)

    def test_running(self) -> None:
        """While a worker has the run, the step waits for what comes of it."""
        run = replace(RUN, phase="prestaging-images", state="running")

        assert decide(replace(STEP, state="prestaging-images", run=run, cancel_requested=True)) == []

    @pytest.mark.parametrize(
        ("phase", "outcome", "state", "expected"),
        [
            ("prestaging-packages", "cancelled", StepState.ABORTED, StepOutcome.CANCELLED),
            ("prestaging-packages", "lost", StepState.ABORTED, StepOutcome.CANCELLED),
            ("prestaging-packages", "drained", StepState.ABORTED, StepOutcome.CANCELLED),
            ("prestaging-packages", "succeeded", StepState.ABORTED, StepOutcome.CANCELLED),
            ("prestaging-images", "succeeded", StepState.COMPLETE, StepOutcome.COMPLETE),
            ("prestaging-images", "failed", StepState.FAILED, StepOutcome.FAILED),
            ("prestage-precheck", "skipped", StepState.COMPLETE, StepOutcome.SKIPPED),
        ],
    )
    def test_end_of_a_run(self, phase: str, outcome: str, state: StepState, expected: StepOutcome) -> None:
        """A marked step ends by its mark, unless its last phase succeeded, a phase failed or it was skipped."""
        (move,) = decide(replace(in_phase(phase, outcome), cancel_requested=True))

        assert isinstance(move, MoveStep)
        assert ((state,), expected) == (move.path, move.outcome)

    def test_run_of_an_unmarked_step(self) -> None:
        """A run that was stopped on request ends its step as cancelled without a mark too."""
        (move,) = decide(in_phase("prestaging-packages", "cancelled"))

        assert isinstance(move, MoveStep)
        assert (StepOutcome.CANCELLED, "cancelled in prestaging-packages") == (move.outcome, move.details)

    @pytest.mark.parametrize(("outcome", "marked"), [("cancelled", False), ("lost", True), ("drained", True)])
    def test_preparation(self, outcome: str, marked: bool) -> None:
        """A preparation that was stopped on request is void: it is made once more when a step needs it."""
        run = replace(finished("prestage-prepare", outcome, details="stopped"), cancel_requested=marked)

        (end,) = decide(preparations=(replace(PREPARATION, run=run),))

        assert isinstance(end, EndPreparation)
        assert end.state == PreparationState.VOID

    @pytest.mark.parametrize(
        ("outcome", "expected"),
        [("succeeded", PreparationState.COMPLETE), ("failed", PreparationState.FAILED)],
    )
    def test_preparation_that_ended_by_itself(self, outcome: str, expected: PreparationState) -> None:
        """A preparation that came to its end before it was stopped counts."""
        run = replace(finished("prestage-prepare", outcome), cancel_requested=True)

        (end,) = decide(preparations=(replace(PREPARATION, run=run),))

        assert isinstance(end, EndPreparation)
        assert expected == end.state

    def test_strategy(self) -> None:
        """A cancel of the strategy marks what has started, after the other steps are aborted."""
        strategy = replace(STRATEGY, state="abort requested", cancel_requested=True, cancel_requested_by="alice")

        expected = [
            AbortWaiting(strategy_id=1, change=ABORT),
            RequestCancel(strategy_id=1, requested_by="alice"),
            MoveStrategy(strategy_id=1, from_state="abort requested", to_state=StrategyState.ABORTING),
        ]
        assert expected == decide(STEP, in_phase("prestaging-packages", "succeeded"), strategy=strategy)

    def test_marked_step_of_a_halted_strategy(self) -> None:
        """A halted strategy waits for the end of steps that are to be cancelled."""
        strategy = replace(STRATEGY, stop_on_failure=True, failed_stage=1)

        (move,) = decide(replace(STEP, cancel_requested=True), strategy=strategy)

        assert isinstance(move, MoveStep)


class TestTimeLimit:
    OVERDUE = replace(STRATEGY, time_limit_s=60.0, applied_at_epoch=NOW - 60, any_begun=True)
    REACHED = "The strategy's limit of 60 s (strategy-s) was reached."
    WORKING = replace(in_phase("prestaging-packages", "succeeded"), id=12)

    def test_abort(self) -> None:
        """A strategy that reached its limit is aborted, with the sentence about the limit, in one plan."""
        expected = [
            MoveStrategy(
                strategy_id=1, from_state="applying", to_state=StrategyState.ABORT_REQUESTED, reason=self.REACHED
            ),
            AbortWaiting(strategy_id=1, change=ABORT),
            EndHolds(strategy_id=1),
            MoveStrategy(strategy_id=1, from_state="abort requested", to_state=StrategyState.ABORTING),
        ]
        assert expected == decide(STEP, self.WORKING, strategy=self.OVERDUE, holds=(BUDGET,))

    def test_cancel(self) -> None:
        """With `cancel` its running steps are stopped too."""
        strategy = replace(self.OVERDUE, on_time_limit=OnTimeLimit.CANCEL)

        actions = decide(STEP, self.WORKING, strategy=strategy)

        expected = RequestCancel(strategy_id=1, requested_by="the strategy's limit of 60 s (strategy-s)")
        assert [MoveStrategy, AbortWaiting, RequestCancel, MoveStrategy] == [type(action) for action in actions]
        assert expected in actions

    def test_cancel_comes_after_preparations(self) -> None:
        """A plan that cancels decides about preparations before: the run that follows a lost one is marked too."""
        strategy = replace(self.OVERDUE, on_time_limit=OnTimeLimit.CANCEL)
        lost = replace(PREPARATION, run=finished("prestage-prepare", "lost"))

        actions = decide(self.WORKING, strategy=strategy, preparations=(lost,))

        expected = [RetryPreparation, MoveStrategy, AbortWaiting, RequestCancel, MoveStrategy]
        assert expected == [type(action) for action in actions]

    def test_limit_of_an_abort(self) -> None:
        """An abort that takes longer than the limit becomes a cancel, once, if the limit asks for that."""
        strategy = replace(self.OVERDUE, state="aborting", on_time_limit=OnTimeLimit.CANCEL)

        (request,) = decide(self.WORKING, strategy=strategy)

        assert isinstance(request, RequestCancel)
        for after in (
            replace(strategy, cancel_requested=True),
            replace(self.OVERDUE, state="aborting"),
        ):
            (move,) = decide(self.WORKING, strategy=after)
            assert isinstance(move, MoveStep)

    def test_over_before(self) -> None:
        """A strategy that has nothing left to do ends, whatever its limit."""
        (move,) = decide(strategy=replace(self.OVERDUE, open_stage=None))

        assert isinstance(move, MoveStrategy)
        assert move.to_state == StrategyState.COMPLETE
