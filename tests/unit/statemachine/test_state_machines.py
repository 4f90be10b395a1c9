from __future__ import annotations

from itertools import product

import pytest

from statemachine.errors import IllegalTransitionError
from statemachine.machines import STEP, fire_strategy
from statemachine.states import (
    MOVING_STRATEGIES,
    PHASES,
    STRATEGY_TYPES,
    TERMINAL_STEPS,
    StepState,
    StrategyState,
)

# Contract 7.1, written out by hand.
STRATEGY_MOVES = {
    ("initial", "apply"): "applying",
    ("applying", "abort"): "abort requested",
    ("abort requested", "abort_waiting"): "aborting",
    ("applying", "complete"): "complete",
    ("aborting", "complete"): "complete",
    ("applying", "fail"): "failed",
    ("aborting", "fail"): "failed",
    ("aborting", "abort_done"): "aborted",
    # Ours: all its steps were cancelled one by one.
    ("applying", "abort_done"): "aborted",
    ("initial", "delete"): "deleting",
    ("complete", "delete"): "deleting",
    ("failed", "delete"): "deleting",
    ("aborted", "delete"): "deleting",
}
# Contract 7.2, written out by hand.
STEP_MOVES = {
    ("initial", "start"): "prestage-precheck",
    ("prestage-precheck", "prepare"): "prestage-prepare",
    ("prestage-prepare", "stage_packages"): "prestaging-packages",
    ("prestaging-packages", "stage_images"): "prestaging-images",
    ("prestaging-images", "complete"): "complete",
    ("prestage-precheck", "unstage"): "unstaging",
    ("unstaging", "complete"): "complete",
    ("unstaging", "fail"): "failed",
    ("prestage-precheck", "skip"): "complete",
    ("initial", "fail"): "failed",
    ("prestage-precheck", "fail"): "failed",
    ("prestage-prepare", "fail"): "failed",
    ("prestaging-packages", "fail"): "failed",
    ("prestaging-images", "fail"): "failed",
    ("initial", "abort"): "aborted",
    # Ours: a cancel.
    ("initial", "cancel"): "aborted",
    ("prestage-precheck", "cancel"): "aborted",
    ("prestage-prepare", "cancel"): "aborted",
    ("prestaging-packages", "cancel"): "aborted",
    ("prestaging-images", "cancel"): "aborted",
    ("unstaging", "cancel"): "aborted",
    # Ours: a retry within its strategy.
    ("failed", "retry"): "initial",
    ("aborted", "retry"): "initial",
}
STRATEGY_TRIGGERS = ["apply", "abort", "abort_waiting", "complete", "fail", "abort_done", "delete"]
STEP_TRIGGERS = [
    *("start", "prepare", "stage_packages", "stage_images", "unstage"),
    *("complete", "skip", "fail", "abort", "cancel", "retry"),
]


def _illegal(
    states: type[StrategyState | StepState], triggers: list[str], moves: dict[tuple[str, str], str]
) -> list[tuple[str, str]]:
    return [pair for pair in product([str(state) for state in states], triggers) if pair not in moves]


def _may_delete(state: str) -> bool:
    try:
        return fire_strategy(state, "delete") == StrategyState.DELETING
    except IllegalTransitionError:
        return False


class TestStrategy:
    @pytest.mark.parametrize(("state", "trigger"), STRATEGY_MOVES)
    def test_legal_transition(self, state: str, trigger: str) -> None:
        """A strategy goes where contract 7.1 says."""
        expected = StrategyState(STRATEGY_MOVES[state, trigger])

        assert expected is fire_strategy(state, trigger)

    @pytest.mark.parametrize(("state", "trigger"), _illegal(StrategyState, STRATEGY_TRIGGERS, STRATEGY_MOVES))
    def test_illegal_transition(self, state: str, trigger: str) -> None:
        """Every other pair of state and trigger is refused, and names both."""
        with pytest.raises(IllegalTransitionError, match=trigger) as caught:
            fire_strategy(state, trigger)

        assert (state, trigger) == (caught.value.state, caught.value.trigger)

    def test_deletable_states(self) -> None:
        """The set of deletable states is what the machine says."""
        deletable = {state for state in StrategyState if _may_delete(state)}

        assert {state for state, trigger in STRATEGY_MOVES if trigger == "delete"} == deletable

    def test_no_state_both_moves_and_is_deletable(self) -> None:
        """A strategy that is worked on cannot be deleted, and each state but `deleting` is one or the other."""
        deletable = {state for state in StrategyState if _may_delete(state)}

        assert not MOVING_STRATEGIES & deletable
        assert set(StrategyState) - {StrategyState.DELETING} == MOVING_STRATEGIES | deletable


class TestStep:
    @pytest.mark.parametrize(("state", "trigger"), STEP_MOVES)
    def test_legal_transition(self, state: str, trigger: str) -> None:
        """A step goes where contract 7.2 says."""
        expected = StepState(STEP_MOVES[state, trigger])

        assert expected is STEP.fire(state, trigger)

    @pytest.mark.parametrize(("state", "trigger"), _illegal(StepState, STEP_TRIGGERS, STEP_MOVES))
    def test_illegal_transition(self, state: str, trigger: str) -> None:
        """Every other pair of state and trigger is refused, and names both."""
        with pytest.raises(IllegalTransitionError) as caught:
            STEP.fire(state, trigger)

        assert (state, trigger) == (caught.value.state, caught.value.trigger)
        assert f"no transition {trigger!r} from state {state!r}" == str(caught.value)

    @pytest.mark.parametrize("state", TERMINAL_STEPS)
    def test_terminal_states_are_terminal(self, state: StepState) -> None:
        """Nothing but a retry leads out of a terminal state, and nothing at all out of `complete`."""
        leaving = {trigger for source, trigger in STEP_MOVES if source == state}

        assert leaving == (set() if state == StepState.COMPLETE else {"retry"})

    def test_phases_in_order(self) -> None:
        """The phases of a type are what lies between waiting and the end, in the order of work."""
        prestage = ("prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images")

        states = {name: kind.states for name, kind in STRATEGY_TYPES.items()}
        assert {"prestage": prestage, "unstage": ("prestage-precheck", "unstaging")} == states
        assert (*prestage, "unstaging") == tuple(PHASES)


class TestUnknownWords:
    @pytest.mark.parametrize("fire", [fire_strategy, STEP.fire])
    @pytest.mark.parametrize(
        ("state", "trigger"), [("nowhere", "abort"), ("initial", "vanish"), ("", ""), ("initial", "INITIAL")]
    )
    def test_unknown_state_or_trigger(self, fire: object, state: str, trigger: str) -> None:
        """A word that the machine does not know is refused in the same way as a wrong one."""
        assert callable(fire)
        with pytest.raises(IllegalTransitionError):
            fire(state, trigger)

    def test_a_refusal_changes_nothing(self) -> None:
        """The shared machine works after refusals as before."""
        before = STEP.fire("initial", "start")
        with pytest.raises(IllegalTransitionError):
            STEP.fire("initial", "complete")

        assert before == STEP.fire("initial", "start")

    def test_enum_and_word_are_the_same(self) -> None:
        """A state may be given as an enum or as the word of the wire."""
        assert fire_strategy("applying", "abort") == fire_strategy(StrategyState.APPLYING, "abort")
