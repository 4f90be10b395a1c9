"""The plan for preparations that steps of a strategy share."""

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
)
from statemachine.snapshot import StepView
from statemachine.states import PreparationState, StepState, StrategyState
from tests.unit.statemachine.plan_views import (
    ABORT,
    PREPARATION,
    STEP,
    decide,
    finished,
    in_phase,
)

PREPARE = StepState.PREPARE

PARKED = replace(STEP, state="prestage-prepare", from_version="21.12")


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
