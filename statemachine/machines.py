"""State machines of strategies and steps, with the functions that fire their triggers.

One machine of each serves the whole process; a row's state is the model for the time of one trigger. That was measured
at 20 microseconds a trigger, against 1.3 ms and 55 KiB for a machine per object. Machines have no callbacks: side
effects are data that the plan returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from transitions import Machine, MachineError

from statemachine.errors import IllegalTransitionError
from statemachine.states import STRATEGY_TYPES, StepState, StrategyState, StrategyType, phases_of


class _Row:
    """The model of a machine for the time of one trigger."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


def _transitions(*rows: tuple[str, str | Sequence[str], str]) -> list[dict[str, Any]]:
    """Turn (trigger, source or sources, destination) into what `transitions` takes; enums become plain words."""
    return [
        {
            "trigger": trigger,
            "source": str(source) if isinstance(source, str) else [str(one) for one in source],
            "dest": str(dest),
        }
        for trigger, source, dest in rows
    ]


_S, _T = StrategyState, StepState

STRATEGY_TRANSITIONS: Final = _transitions(
    ("apply", _S.INITIAL, _S.APPLYING),
    ("abort", _S.APPLYING, _S.ABORT_REQUESTED),
    ("abort_waiting", _S.ABORT_REQUESTED, _S.ABORTING),
    ("complete", [_S.APPLYING, _S.ABORTING], _S.COMPLETE),
    ("fail", [_S.APPLYING, _S.ABORTING], _S.FAILED),
    ("abort_done", [_S.APPLYING, _S.ABORTING], _S.ABORTED),
    ("delete", [_S.INITIAL, _S.COMPLETE, _S.FAILED, _S.ABORTED], _S.DELETING),
)


def _step_transitions(types: Iterable[StrategyType]) -> list[dict[str, Any]]:
    """Return the transitions of steps of all types; a type only adds to those of the others."""
    types = list(types)
    entries = dict.fromkeys(
        (phase.trigger, source, phase.state)
        for one in types
        for source, phase in zip((_T.INITIAL, *one.states), one.phases, strict=False)
    )
    return _transitions(
        *entries,
        ("complete", [one.states[-1] for one in types], _T.COMPLETE),
        *dict.fromkeys(("skip", one.states[0], _T.COMPLETE) for one in types if one.may_skip),
        ("fail", [_T.INITIAL, *phases_of(types)], _T.FAILED),
        ("abort", _T.INITIAL, _T.ABORTED),
        ("cancel", [_T.INITIAL, *phases_of(types)], _T.ABORTED),
        # On request only: the plan itself never leaves a terminal state.
        ("retry", [_T.FAILED, _T.ABORTED], _T.INITIAL),
    )


def _machine(states: Iterable[str], rows: list[dict[str, Any]], name: str) -> Machine:
    return Machine(
        model=None,
        states=[str(state) for state in states],
        transitions=rows,
        initial="initial",
        auto_transitions=False,
        name=name,
    )


def _fire(machine: Machine, state: str, trigger: str) -> str:
    # transitions looks enums up by their name; the machine knows plain words.
    row = _Row(str(state))
    if state not in machine.states or trigger not in machine.events:
        raise IllegalTransitionError(state, trigger)
    try:
        machine.events[trigger].trigger(row)
    except MachineError as error:
        raise IllegalTransitionError(state, trigger) from error
    return row.state


class StepMachine:
    """The machine of steps of some types, made from their rows in `states.py`.

    Attributes:
        types: The types by name.

        phases: Their phases by state, in order.

        transitions: Its rows, as `transitions` takes them.
    """

    def __init__(self, types: Mapping[str, StrategyType]) -> None:
        self.types = types
        self.transitions = _step_transitions(types.values())
        self.phases = phases_of(types.values())
        phases = [phase.state for phase in self.phases.values()]
        self._states: dict[str, StepState] = {str(state): state for state in (*StepState, *phases)}
        self._machine = _machine(self._states, self.transitions, "step")

    def fire(self, state: str, trigger: str) -> StepState:
        """Return the state that `trigger` leads a step to.

        Raises:
            IllegalTransitionError: `state` is unknown or has no such transition; nothing changed.
        """
        return self._states[_fire(self._machine, state, trigger)]


STRATEGY: Final = _machine(StrategyState, STRATEGY_TRANSITIONS, "strategy")
STEP: Final = StepMachine(STRATEGY_TYPES)


def fire_strategy(state: str, trigger: str) -> StrategyState:
    """Return the state that `trigger` leads a strategy to.

    Raises:
        IllegalTransitionError: `state` is unknown or has no such transition; nothing changed.
    """
    return StrategyState(_fire(STRATEGY, state, trigger))
