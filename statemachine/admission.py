"""Admission: which steps of a strategy may start now, and which parked ones may go on.

Holds keep the steps that they cover from starting, or from their next phase. Places belong to a sliding window; in mode
`stages` every step of the open stage has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from math import inf

from statemachine.rollout import HoldKind, HoldScope, OnBudget, RolloutMode
from statemachine.snapshot import HoldView, PreparationView, StepView, StrategyView
from statemachine.states import StepState, StrategyState


def is_budget_exceeded(strategy: StrategyView) -> bool:
    """Return whether more steps failed than the failure budget allows."""
    return strategy.max_failures is not None and strategy.failed > strategy.max_failures


def exceeded_stages(strategy: StrategyView) -> Iterator[int]:
    """Yield the stages of which more steps failed than their own failure budget allows."""
    for stage, budget in strategy.stage_budgets.items():
        if strategy.failed_by_stage.get(stage, 0) > budget:
            yield stage


def is_halted(strategy: StrategyView) -> bool:
    """Return whether a failure has stopped the strategy for good: what has begun ends, nothing else starts."""
    if strategy.stop_on_failure and strategy.failed_stage is not None:
        return True
    return is_stopped_by_budget(strategy)


def is_stopped_by_budget(strategy: StrategyView) -> bool:
    """Return whether the failure budget has halted the strategy; then its handed-out steps are withdrawn too."""
    if strategy.on_budget != OnBudget.STOP:
        return False
    return is_budget_exceeded(strategy) or any(True for _ in exceeded_stages(strategy))


def admits(strategy: StrategyView) -> bool:
    """Return whether steps of the strategy may start, apart from holds and places."""
    return strategy.state == StrategyState.APPLYING and not is_halted(strategy) and not is_budget_exceeded(strategy)


def _closing_stages(strategy: StrategyView) -> Iterator[int]:
    """Yield the stages behind which no step starts: their budget is exceeded, or the strategy has not passed them."""
    yield from exceeded_stages(strategy)
    if strategy.ended_stage is not None:
        yield strategy.ended_stage.stage


class Obstacle(StrEnum):
    """Obstacle to the start of a step."""

    # A hold covers it.
    HOLD = "hold"
    # Steps of an earlier stage have not started; in mode `stages`, and in a window that goes stage by stage, they have
    # not ended.
    STAGE = "stage"
    # Every place that it could have is taken.
    PLACE = "place"


def start_order(step: StepView) -> tuple[bool, int, int, int]:
    """Return the key by which steps take places: those that were put first, then by stage, position and id."""
    is_first = step.position < 0
    return not is_first, 0 if is_first else step.stage, step.position, step.id


class HoldCoverage:
    """Open holds of a strategy, by the steps that they cover.

    Steps of no strategy, or of another one, are covered by none.
    """

    def __init__(self, strategy_id: int | None, holds: Iterable[HoldView]) -> None:
        self._strategy_id = strategy_id
        self._of_steps: dict[int, list[HoldView]] = {}
        self._of_stages: list[HoldView] = []
        self._preparations: set[int] = set()
        # Their ends by kind and last stage that is not covered.
        self._kinds: dict[tuple[str, int | None], float | None] = {}
        for hold in holds:
            self._kinds[hold.kind, hold.stage] = hold.until_epoch
            if hold.step_id is not None:
                self._of_steps.setdefault(hold.step_id, []).append(hold)
            elif hold.preparation_id is not None:
                self._preparations.add(hold.preparation_id)
            else:
                self._of_stages.append(hold)

    @property
    def is_empty(self) -> bool:
        """Whether there is no hold."""
        return not self._kinds

    def has(self, kind: HoldKind, after_stage: int | None = None) -> bool:
        """Return whether there is a hold of this kind: of everything, or of the stages after one."""
        return (kind, after_stage) in self._kinds

    def until(self, kind: HoldKind, after_stage: int) -> float | None:
        """Return when a hold of the stages after one ends by itself; None: never, or there is none."""
        return self._kinds.get((kind, after_stage))

    def add_preparation(self, preparation: PreparationView) -> None:
        """Hold the steps that wait for a preparation too."""
        self._kinds[HoldKind.PREPARE, None] = None
        self._preparations.add(preparation.id)

    def is_preparation_held(self, preparation: PreparationView) -> bool:
        """Return whether the steps that wait for a preparation are held for its failure."""
        return preparation.id in self._preparations

    def names(self, step_id: int) -> bool:
        """Return whether a hold names a step by its id."""
        return step_id in self._of_steps

    def is_held_alone(self, step: StepView) -> bool:
        """Return whether a hold names the step itself: others do not wait for it then."""
        return self._is_ours(step) and step.id in self._of_steps

    def holds_on(self, step: StepView) -> tuple[HoldView, ...]:
        """Return the holds that cover a step, whatever their scope, those of the site alone first."""
        alone = self._of_steps.get(step.id, ()) if self._is_ours(step) else ()
        return (*alone, *self._holds_of_stage(step))

    def stops_start(self, step: StepView) -> bool:
        """Return whether a step in `initial` may not start; each scope has that."""
        return self.is_held_alone(step) or any(True for _ in self._holds_of_stage(step))

    def stops_phase(self, step: StepView, preparation: PreparationView | None = None) -> bool:
        """Return whether the next phase of a step may not begin; `preparation` is the one that it waits for."""
        if preparation is not None and self.is_preparation_held(preparation):
            return True
        return any(hold.scope == HoldScope.PHASES for hold in self.holds_on(step))

    def stops_queued_run(self, step: StepView) -> bool:
        """Return whether the queued run of a step is to be withdrawn."""
        is_waiting = step.state == StepState.INITIAL
        return self.stops_start(step) if is_waiting else self.stops_phase(step)

    def _holds_of_stage(self, step: StepView) -> Iterable[HoldView]:
        if not self._is_ours(step):
            return ()
        return (hold for hold in self._of_stages if hold.stage is None or step.stage > hold.stage)

    def _is_ours(self, step: StepView) -> bool:
        return step.strategy_id is not None and step.strategy_id == self._strategy_id


class Places:
    """Free places of a strategy. A place that becomes free after the snapshot is taken by a later plan."""

    def __init__(self, strategy: StrategyView) -> None:
        self._strategy = strategy
        self._taken = 0
        self._taken_of_stage: dict[int, int] = {}
        self._limit = _limit(strategy)

    @property
    def is_full(self) -> bool:
        """Whether no step of any stage gets a place, for as many as may be are in flight over the whole strategy."""
        strategy = self._strategy
        return strategy.mode == RolloutMode.WINDOW and self._limit - strategy.in_flight - self._taken < 1

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
    was put first waits for no other. In a window that goes stage by stage only steps of the open stage start.

    Args:
        waiting: Steps of the strategy in `initial` without a run.

        strategy: The strategy, which admits steps.

        places: Its free places.

        holds: Its holds.
    """
    if strategy.mode != RolloutMode.WINDOW:
        yield from (step for step in waiting if obstacle(step, strategy, places, holds) is None)
        return
    waiting_stage = inf
    for step in sorted(waiting, key=start_order):
        found = obstacle(step, strategy, places, holds, waiting_stage)
        if found == Obstacle.STAGE:
            if strategy.stage_by_stage:
                # One that was put first, in a stage to come.
                continue
            return
        if found is None and places.take(step.stage):
            yield step
        elif not holds.is_held_alone(step):
            waiting_stage = min(waiting_stage, step.stage)


def obstacle(
    step: StepView, strategy: StrategyView, places: Places, holds: HoldCoverage, waiting_stage: float = inf
) -> Obstacle | None:
    """Return what keeps a step that has not started from its start now; None: nothing does.

    Args:
        step: The step, of a strategy that admits steps.

        strategy: Its strategy.

        places: The places that are left by the steps before it.

        holds: Holds of the strategy.

        waiting_stage: Of a window, the first stage with a step before it that does not start, unless it is held by
            itself; infinity: there is none.
    """
    if holds.stops_start(step):
        return Obstacle.HOLD
    if any(step.stage > stage for stage in _closing_stages(strategy)):
        return Obstacle.HOLD
    if strategy.has_open_stage_only and step.stage != strategy.open_stage:
        return Obstacle.STAGE
    if strategy.mode != RolloutMode.WINDOW:
        return None
    if step.position >= 0 and step.stage > waiting_stage:
        return Obstacle.STAGE
    return None if places.free(step.stage) >= 1 else Obstacle.PLACE
