"""Retry of a step within its strategy: where its work begins anew."""

from __future__ import annotations

from dataclasses import dataclass

from statemachine.actions import StepChange
from statemachine.machines import STEP, StepMachine
from statemachine.rollout import RolloutMode
from statemachine.states import StepState


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlace:
    """Stage of a step, and its place in the order of a sliding window."""

    stage: int
    position: int


def retried_place(mode: str, place: StepPlace, *, open_stage: int | None, last_position: int) -> StepPlace:
    """Return the place of a step that is retried.

    In a sliding window that is the end of its stage's queue. In mode `stages` it is its own stage when that is still to
    come, else the open one: a stage that has ended does not open again.

    Args:
        mode: See `RolloutMode`.

        place: Its place so far.

        open_stage: Smallest stage with a step that has not ended; None: all have.

        last_position: The largest position in the strategy.
    """
    if mode == RolloutMode.WINDOW:
        return StepPlace(stage=place.stage, position=last_position + 1)
    return StepPlace(stage=max(place.stage, open_stage or place.stage), position=place.position)


def retry_change(state: str, machine: StepMachine = STEP) -> StepChange:
    """Return the change of a step that is retried.

    Raises:
        IllegalTransitionError: It is in no state that a retry leads out of.
    """
    to_state = machine.fire(state, "retry")
    return StepChange(from_state=StepState(state), to_state=to_state)
