"""Commands of a strategy and of a step that are legal now, and for the others the reason why they are not.

The coordinator refuses a command of a step by the same function that answers show beforehand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from statemachine.errors import IllegalTransitionError
from statemachine.machines import fire_strategy
from statemachine.rollout import BETWEEN_STAGES, HoldKind, RolloutMode, StepOutcome
from statemachine.states import ENDED_STRATEGIES, StepState, StrategyState

STRATEGY_COMMANDS: Final = (
    *("abort", "apply", "approve", "cancel", "delete", "deny", "pause", "resume", "retry", "update"),
)
STEP_COMMANDS: Final = ("cancel", "first", "hold", "resume", "retry")
_ABORTING: Final = frozenset({StrategyState.ABORT_REQUESTED, StrategyState.ABORTING})
_CHANGEABLE: Final = frozenset({StrategyState.INITIAL, StrategyState.APPLYING})

_WHILE_APPLYING: Final = {
    "apply": "the strategy is applied already",
    "retry": "the strategy has not ended; single sites can be retried",
    "delete": "the strategy goes on; abort or cancel it first",
}


def refused_commands(
    state: str, kinds: Collection[str] = (), stages: Iterable[Mapping[Any, Any]] = (), *, is_deleted: bool = False
) -> dict[str, str]:
    """Return the commands of a strategy that would be refused now, each with the reason; all others are legal.

    Args:
        state: See `StrategyState`.

        kinds: Kinds of its open holds.

        stages: Those of its rollout, as answers show them.

        is_deleted: Whether it is history.
    """
    if is_deleted:
        return {command: "the strategy was deleted" for command in STRATEGY_COMMANDS if command != "retry"}
    listed = list(stages)
    reasons = {command: _strategy_refusal(command, state, kinds, listed) for command in STRATEGY_COMMANDS}
    return {command: reason for command, reason in reasons.items() if reason is not None}


def _strategy_refusal(command: str, state: str, kinds: Collection[str], stages: list[Mapping[Any, Any]]) -> str | None:
    is_legal = state == StrategyState.APPLYING
    if command in ("abort", "apply", "delete"):
        is_legal = _can_fire(state, command)
    elif command == "update":
        is_legal = state in _CHANGEABLE
    elif command == "retry":
        is_legal = state in ENDED_STRATEGIES
    elif command == "cancel":
        is_legal = is_legal or state in _ABORTING
    if not is_legal:
        return _state_reason(command, state)
    if command == "resume" and set(kinds) <= {*BETWEEN_STAGES}:
        return "only the end of a stage holds it: approve it, or wait" if kinds else "nothing is held"
    if command in ("approve", "deny") and not (HoldKind.GATE in kinds or any(map(_awaits_decision, stages))):
        return "no stage waits for an approval"
    return None


def _state_reason(command: str, state: str) -> str:
    if state in ENDED_STRATEGIES:
        return "the strategy has ended"
    if state == StrategyState.INITIAL:
        return "the strategy is not applied yet"
    if state in _ABORTING:
        return f"an abort was requested{' already' if command == 'abort' else ''}"
    return _WHILE_APPLYING.get(command, f"the strategy is {state}")


def _awaits_decision(stage: Mapping[Any, Any]) -> bool:
    return stage.get("gate") is not None and stage.get("decision") is None and stage.get("passed-at", "") is None


def _can_fire(state: str, verb: str) -> bool:
    try:
        fire_strategy(state, verb)
    except IllegalTransitionError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class StepSituation:
    """A step of the active strategy, with all that decides about its commands.

    Attributes:
        state: See `StepState`.

        outcome: See `StepOutcome`; None while it is open.

        has_ended: Whether it has ended.

        has_subcloud: Whether its subcloud is still known.

        strategy_state: State of its strategy.

        mode: See `RolloutMode`.

        is_held: Whether a hold is on its site alone.

        is_cancelled: Whether it is to be stopped.

        is_stopped: Whether failures have stopped its strategy for good.

        is_busy: Whether another step of its site is open.
    """

    state: str
    outcome: str | None
    has_ended: bool
    has_subcloud: bool
    strategy_state: str
    mode: str
    is_held: bool = False
    is_cancelled: bool = False
    is_stopped: bool = False
    is_busy: bool = False


def step_refusal(command: str, step: StepSituation) -> str | None:
    """Return why the coordinator refuses a command of a step; None: it does not. A cancel is never refused."""
    if command == "cancel":
        return None
    if command == "retry":
        return _retry_refusal(step)
    if step.has_ended:
        return f"it has ended as {step.state}"
    if step.strategy_state not in _CHANGEABLE:
        return f"its strategy is {step.strategy_state}"
    return _first_refusal(step) if command == "first" else None


def _first_refusal(step: StepSituation) -> str | None:
    if step.mode != RolloutMode.WINDOW:
        return "its strategy goes by stages; rollout.mode window has an order"
    return None if step.state == StepState.INITIAL else "it has started"


def _retry_refusal(step: StepSituation) -> str | None:
    if step.strategy_state != StrategyState.APPLYING:
        return f"its strategy is {step.strategy_state}"
    if step.outcome not in (StepOutcome.FAILED, StepOutcome.CANCELLED):
        return f"it is {step.outcome or step.state}; only failed and cancelled ones are"
    return None if step.has_subcloud else "its subcloud was removed"


def refused_step_commands(step: StepSituation) -> dict[str, str]:
    """Return the commands of a step that would be refused now or change nothing, each with the reason."""
    found = {}
    for command in STEP_COMMANDS:
        reason = step_refusal(command, step) or _idle_reason(command, step)
        if reason is not None:
            found[command] = reason
    return found


def _idle_reason(command: str, step: StepSituation) -> str | None:
    reasons = (
        ("hold", step.is_held, "it is held already"),
        ("resume", not step.is_held, "it is not held"),
        ("cancel", step.has_ended, f"it has ended as {step.state}"),
        ("cancel", step.is_cancelled, "it is being stopped already"),
        ("retry", step.is_stopped, "failures have stopped its strategy for good"),
        ("retry", step.is_busy, "another step of that site is open"),
    )
    return next((reason for name, applies, reason in reasons if name == command and applies), None)
