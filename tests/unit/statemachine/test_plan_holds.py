"""The plan under holds: what does not start, what is withdrawn, and what goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from statemachine.actions import (
    AbortWaiting,
    Action,
    EndHolds,
    MoveStep,
    MoveStrategy,
    OpenHold,
    RepeatPreparation,
    WithdrawRuns,
)
from statemachine.rollout import HoldKind, HoldScope, OnPrepareFailure
from statemachine.snapshot import HoldView, StepView
from statemachine.states import StepState, StrategyState
from tests.unit.statemachine.plan_views import ABORT, PREPARATION, RUN, STEP, STRATEGY, decide, in_phase

STARTS = HoldView(id=41, kind=HoldKind.OPERATOR, scope=HoldScope.STARTS)
PHASES = replace(STARTS, scope=HoldScope.PHASES)
ONE_SITE = replace(PHASES, step_id=11)
FAILED_PREPARATION = replace(PHASES, kind=HoldKind.PREPARE, preparation_id=31)
PREPARING = replace(STEP, state="prestage-prepare", from_version="21.12", preparing=True)


def run_of(phase: str, state: str = "queued") -> StepView:
    return replace(STEP, state=phase, run=replace(RUN, phase=phase, state=state))


class TestStarts:
    @pytest.mark.parametrize("hold", [STARTS, PHASES, ONE_SITE])
    def test_nothing_starts(self, hold: HoldView) -> None:
        """Under a hold of any scope no step leaves `initial`, not even one whose subcloud is unmanaged."""
        assert decide(STEP, holds=(hold,)) == []
        assert decide(replace(STEP, managed=False), holds=(hold,)) == []

    def test_others_start(self) -> None:
        """A hold of one site keeps no other from starting."""
        (move,) = decide(STEP, replace(STEP, id=12), holds=(ONE_SITE,))

        assert isinstance(move, MoveStep)
        assert move.step_id == 12

    def test_stages_after_one(self) -> None:
        """A hold of the stages after one leaves that stage alone."""
        hold = replace(STARTS, kind=HoldKind.BUDGET, stage=1)

        (move,) = decide(STEP, holds=(hold,))

        assert isinstance(move, MoveStep)
        assert decide(replace(STEP, stage=2), strategy=replace(STRATEGY, open_stage=2), holds=(hold,)) == []

    @pytest.mark.parametrize("strategy_id", [None, 2])
    def test_steps_of_no_strategy(self, strategy_id: int | None) -> None:
        """A hold covers no step outside of its strategy, whatever its id."""
        step = replace(in_phase("prestaging-packages", "succeeded"), strategy_id=strategy_id)

        (move,) = decide(step, holds=(PHASES, ONE_SITE))

        assert isinstance(move, MoveStep)
        assert move.run_phase == StepState.IMAGES


class TestWithdrawing:
    """Runs that came back into the queue after the hold, as a worker hands back what it never began."""

    @pytest.mark.parametrize("hold", [STARTS, PHASES])
    def test_handed_out(self, hold: HoldView) -> None:
        """The queued run of a step that has not started is withdrawn under each scope."""
        assert [WithdrawRuns(run_ids=(21,))] == decide(replace(STEP, run=RUN), holds=(hold,))

    @pytest.mark.parametrize(("hold", "expected"), [(STARTS, []), (PHASES, [WithdrawRuns(run_ids=(21,))])])
    @pytest.mark.parametrize("phase", ["prestage-precheck", "prestaging-images"])
    def test_later_phase(self, phase: str, hold: HoldView, expected: list[Action]) -> None:
        """The queued run of a step that has started is withdrawn under a hold of phases alone."""
        assert expected == decide(run_of(phase), holds=(hold,))

    def test_running(self) -> None:
        """What a worker has begun goes on."""
        assert decide(run_of("prestaging-images", "running"), holds=(PHASES,)) == []


class TestPhases:
    def test_next_phase_waits(self) -> None:
        """Under a hold of phases a step moves into its next phase without a run, and leaves its place."""
        expected = MoveStep(step_id=11, version=7, path=(StepState.IMAGES,), consumed_run_id=21)

        assert [expected] == decide(in_phase("prestaging-packages", "succeeded"), holds=(PHASES,))
        assert expected.unlocks

    def test_a_hold_of_starts_lets_phases_go_on(self) -> None:
        """Under a hold of starts a step that has started goes on to its end."""
        (move,) = decide(in_phase("prestaging-packages", "succeeded"), holds=(STARTS,))

        assert isinstance(move, MoveStep)
        assert move.run_phase == StepState.IMAGES

    @pytest.mark.parametrize(("outcome", "attempt"), [("lost", 3), ("drained", 2)])
    def test_lost_phase_waits(self, outcome: str, attempt: int) -> None:
        """A lost or drained phase is not run again under a hold; the attempt of its next run is kept."""
        expected = MoveStep(step_id=11, version=7, attempt=attempt, consumed_run_id=21)

        assert [expected] == decide(in_phase("prestaging-images", outcome, attempt=2), holds=(PHASES,))

    def test_parked_step_waits(self) -> None:
        """A step without a run in its phase waits for the end of the hold."""
        assert decide(replace(STEP, state="prestaging-images"), holds=(PHASES,)) == []

    def test_the_last_phase_ends(self) -> None:
        """A step whose last phase has ended is complete under a hold too."""
        (move,) = decide(in_phase("prestaging-images", "succeeded"), holds=(PHASES,))

        assert isinstance(move, MoveStep)
        assert move.path == (StepState.COMPLETE,)


class TestPreparation:
    def test_held_step_takes_no_place(self) -> None:
        """A step that comes to wait for a preparation under a hold keeps no place for that."""
        expected = MoveStep(step_id=11, version=7, path=(StepState.PREPARE,), consumed_run_id=21)

        assert [expected] == decide(in_phase("prestage-precheck", "succeeded"), holds=(PHASES,))

    @pytest.mark.parametrize("preparing", [True, False])
    def test_none_is_begun_for_held_steps(self, preparing: bool) -> None:
        """A preparation that only held steps wait for is not opened or repeated; their places become free."""
        step = replace(PREPARING, preparing=preparing)
        expected = [MoveStep(step_id=11, version=7)] if preparing else []

        assert expected == decide(step, holds=(PHASES,))
        assert expected == decide(step, preparations=(replace(PREPARATION, state="void"),), holds=(PHASES,))

    def test_one_that_runs_goes_on(self) -> None:
        """While a preparation runs, a hold takes no place away."""
        assert decide(PREPARING, preparations=(PREPARATION,), holds=(PHASES,)) == []

    @pytest.mark.parametrize("preparing", [True, False])
    def test_complete_under_a_hold(self, preparing: bool) -> None:
        """When it is complete its held steps stay, without a place."""
        done = replace(PREPARATION, state="complete")
        expected = [MoveStep(step_id=11, version=7)] if preparing else []

        assert expected == decide(replace(PREPARING, preparing=preparing), preparations=(done,), holds=(PHASES,))

    def test_void_is_made_once_more(self) -> None:
        """A void preparation is repeated once for all steps that need it."""
        void = replace(PREPARATION, state="void")

        expected = RepeatPreparation(preparation_id=31, phase=StepState.PREPARE)
        assert [expected] == decide(PREPARING, replace(PREPARING, id=12), preparations=(void,))


class TestFailedPreparation:
    """A failed preparation when the strategy is to wait instead of failing the steps."""

    STRATEGY = replace(STRATEGY, on_prepare_failure=OnPrepareFailure.PAUSE)
    FAILED = replace(PREPARATION, state="failed", details="no feed")

    def test_one_hold_for_all(self) -> None:
        """The steps that wait for it are held by one hold, and leave their places."""
        parked = replace(PREPARING, id=12, preparing=False)

        hold, first, second = decide(
            PREPARING, parked, replace(PREPARING, id=13), strategy=self.STRATEGY, preparations=(self.FAILED,)
        )

        assert isinstance(hold, OpenHold)
        assert (HoldKind.PREPARE, HoldScope.PHASES, 31) == (hold.kind, hold.scope, hold.preparation_id)
        assert hold.reason == "The preparation for sites of 21.12 failed."
        assert [MoveStep(step_id=one, version=7) for one in (11, 13)] == [first, second]

    def test_only_parked_steps_wait(self) -> None:
        """A step that waits without a place is enough to hold them."""
        (hold,) = decide(replace(PREPARING, preparing=False), strategy=self.STRATEGY, preparations=(self.FAILED,))

        assert isinstance(hold, OpenHold)

    def test_unknown_version(self) -> None:
        """The reason says so when the version of the sites is not known."""
        step = replace(PREPARING, from_version=None)
        failed = replace(self.FAILED, from_version="")

        hold = decide(step, strategy=self.STRATEGY, preparations=(failed,))[0]

        assert isinstance(hold, OpenHold)
        assert hold.reason == "The preparation for sites of an unknown version failed."

    def test_held_already(self) -> None:
        """Under its hold nothing more is opened; a step that came later leaves its place."""
        held = decide(PREPARING, strategy=self.STRATEGY, preparations=(self.FAILED,), holds=(FAILED_PREPARATION,))

        assert [MoveStep(step_id=11, version=7)] == held

    def test_other_steps_go_on(self) -> None:
        """The hold of a preparation covers neither starts nor other phases."""
        done = in_phase("prestaging-packages", "succeeded")
        (start, move) = decide(done, replace(STEP, id=12), preparations=(self.FAILED,), holds=(FAILED_PREPARATION,))

        assert isinstance(move, MoveStep)
        assert isinstance(start, MoveStep)
        assert {StepState.IMAGES, StepState.PRECHECK} == {start.run_phase, move.run_phase}

    @pytest.mark.parametrize(("state", "strategy_id"), [("aborting", 1), ("applying", None), ("applying", 2)])
    def test_fails_otherwise(self, state: str, strategy_id: int | None) -> None:
        """While the strategy aborts, and for steps of no strategy, the steps fail as without that option."""
        step = replace(PREPARING, strategy_id=strategy_id)
        failed = replace(self.FAILED, owner=step.owner)

        (move,) = decide(step, strategy=replace(self.STRATEGY, state=state), preparations=(failed,))

        assert isinstance(move, MoveStep)
        assert move.path == (StepState.FAILED,)

    def test_without_a_strategy(self) -> None:
        """A standalone step fails when there is no strategy at all."""
        step = replace(PREPARING, strategy_id=None)

        (move,) = decide(step, strategy=None, preparations=(replace(self.FAILED, owner=step.owner),))

        assert isinstance(move, MoveStep)
        assert move.path == (StepState.FAILED,)


class TestEnds:
    @pytest.mark.parametrize("outcome", ["succeeded", "failed"])
    def test_end_of_a_held_site(self, outcome: str) -> None:
        """The hold of a single site ends when its step does; those of others stay."""
        step = in_phase("prestaging-images", outcome)

        move, end = decide(step, holds=(PHASES, ONE_SITE, replace(ONE_SITE, step_id=12)))

        assert isinstance(move, MoveStep)
        assert EndHolds(strategy_id=1, step_ids=(11,)) == end

    def test_end_of_the_strategy(self) -> None:
        """A strategy ends under a hold when nothing is left to do, and its holds end with it."""
        expected = [
            EndHolds(strategy_id=1),
            MoveStrategy(strategy_id=1, from_state="applying", to_state=StrategyState.COMPLETE),
        ]

        assert expected == decide(strategy=replace(STRATEGY, open_stage=None), holds=(PHASES,))

    def test_abort(self) -> None:
        """An abort ends all holds; what it does to steps comes after that."""
        expected = [
            AbortWaiting(strategy_id=1, change=ABORT),
            EndHolds(strategy_id=1),
            MoveStrategy(strategy_id=1, from_state="abort requested", to_state=StrategyState.ABORTING),
        ]
        parked = replace(STEP, state="prestaging-images")

        assert expected == decide(parked, strategy=replace(STRATEGY, state="abort requested"), holds=(PHASES,))

    def test_parked_step_goes_on_after_an_abort(self) -> None:
        """While aborting, a parked step goes on to its end."""
        (move,) = decide(replace(STEP, state="prestaging-images"), strategy=replace(STRATEGY, state="aborting"))

        assert isinstance(move, MoveStep)
        assert move.run_phase == StepState.IMAGES

    @pytest.mark.parametrize("state", ["initial", "complete"])
    def test_resting_strategy(self, state: str) -> None:
        """A parked step of a strategy that is not worked on stays."""
        assert decide(replace(STEP, state="prestaging-images"), strategy=replace(STRATEGY, state=state)) == []
