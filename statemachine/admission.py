"""Admission: which steps of a strategy may start now, and which parked ones may go on.

Places belong to a sliding window; in mode `stages` every step of the open stage has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from statemachine.holds import HoldCoverage
from statemachine.rollout import OnBudget, RolloutMode
from statemachine.snapshot import StepView, StrategyView
from statemachine.states import StrategyState


def is_budget_exceeded(strategy: StrategyView) -> bool:
    """Return whether more steps failed than the failure budget allows."""
    return strategy.max_failures is not None and strategy.failed > strategy.max_failures


def is_halted(strategy: StrategyView) -> bool:
    """Return whether a failure has stopped the strategy for good: what has begun ends, nothing else starts."""
    if strategy.stop_on_failure and strategy.failed_stage is not None:
        return True
    return is_stopped_by_budget(strategy)


def is_stopped_by_budget(strategy: StrategyView) -> bool:
    """Return whether the failure budget has halted the strategy; then its handed-out steps are withdrawn too."""
    return strategy.on_budget == OnBudget.STOP and is_budget_exceeded(strategy)


def admits(strategy: StrategyView) -> bool:
    """Return whether steps of the strategy may start, apart from holds and places."""
    return strategy.state == StrategyState.APPLYING and not is_halted(strategy) and not is_budget_exceeded(strategy)


def start_order(step: StepView) -> tuple[bool, int, int, int]:
    """Return the key by which steps take places: those that were put first, then by stage, position and id."""
    is_first = step.position < 0
    return not is_first, 0 if is_first else step.stage, step.position, step.id


class Places:
    """Free places of a strategy. A place that becomes free after the snapshot is taken by a later plan."""

    def __init__(self, strategy: StrategyView) -> None:
        self._strategy = strategy
        self._taken = 0
        self._taken_of_stage: dict[int, int] = {}
        self._limit = _limit(strategy)

    def free(self, stage: int) -> float:
        """Return how many more steps of a stage get a place: a whole number from 0, or infinity."""
        strategy = self._strategy
        if strategy.mode != RolloutMode.WINDOW:
            return inf
        width = strategy.stage_widths.get(stage, inf)
        of_stage = width - strategy.in_flight_by_stage.get(stage, 0) - self._taken_of_stage.get(stage, 0)
        return max(0, min(self._limit - strategy.in_flight - self._taken, of_stage))

    def take(self, stage: int) -> bool:
        """Take a place for a step of a stage; False: there is none."""
        if self.free(stage) < 1:
            return False
        self._taken += 1
        self._taken_of_stage[stage] = self._taken_of_stage.get(stage, 0) + 1
        return True


def _limit(strategy: StrategyView) -> float:
    """Return the most steps in flight over the whole strategy now."""
    width = inf if strategy.width is None else strategy.width
    return width if strategy.ramp_start is None else min(width, strategy.ramp_start + strategy.succeeded)


def admitted(
    waiting: Iterable[StepView], strategy: StrategyView, places: Places, holds: HoldCoverage
) -> Iterator[StepView]:
    """Yield the steps that start now, and take their places.

    A step of a window starts when each step of earlier stages has started, has ended or is held by itself; a step that
    was put first waits for no other.

    Args:
        waiting: Steps of the strategy in `initial` without a run.

        strategy: The strategy, which admits steps.

        places: Its free places.

        holds: Its holds.
    """
    if strategy.mode != RolloutMode.WINDOW:
        yield from (step for step in waiting if step.stage == strategy.open_stage and not holds.stops_start(step))
        return
    waiting_stage = inf
    for step in sorted(waiting, key=start_order):
        if holds.is_held_alone(step):
            continue
        if step.position >= 0 and step.stage > waiting_stage:
            return
        if not holds.stops_start(step) and places.take(step.stage):
            yield step
        else:
            waiting_stage = min(waiting_stage, step.stage)
