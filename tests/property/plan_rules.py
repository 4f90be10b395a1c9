"""Rules of rollouts, written apart from the plan: checked at each commit, at rest and at the end of a strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from statemachine.states import StepState, StrategyState
from statemachine.time_limits import held_time
from tests.property.plan_rows import RELEASE, Preparation, Step, Strategy

# The words of the contract (7.1 and 7.2) that a client waits for.
STRATEGY_WORDS = frozenset({"initial", "applying", "abort requested", "aborting", "complete", "failed", "aborted"})
STEP_WORDS = frozenset(
    {
        *("initial", "prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"),
        *("complete", "failed", "aborted"),
    }
)
OUTCOMES: Mapping[str, Sequence[str | None]] = {
    "complete": ["complete", "skipped"],
    "failed": ["failed"],
    "aborted": ["aborted", "cancelled"],
}


class Commit:
    """One transaction of the coordinator, with what it began on."""

    def __init__(self, strategy: Strategy | None, preparations: Iterable[Preparation]) -> None:
        self._strategy = strategy
        if strategy is None:
            return
        self._in_flight = in_flight(strategy)
        self._waiting = [step for step in strategy.steps if step.not_started]
        self._parked = _ready(strategy, preparations)
        self._may_start = not (strategy.is_halted or strategy.is_over_budget)
        self._over = strategy.stages_over_budget
        self._open_stage = min((step.stage for step in strategy.steps if step.open), default=0)

    def check(self) -> None:
        """Check what the transaction did."""
        strategy = self._strategy
        if strategy is None:
            return
        for step in strategy.steps:
            assert not step.preparing or (step.open and step.state == StepState.PREPARE), "a place is kept for nothing"
        started = [step for step in self._waiting if step.run is not None]
        assert not started or self._may_start, "a step starts after the failures that stop it"
        if not strategy.is_window:
            return
        self._check_places(strategy)
        for step in started:
            self._check_order(strategy, step)

    def _check_places(self, strategy: Strategy) -> None:
        """Check that no more are in flight than there are places, but for those of before a smaller width."""
        now = in_flight(strategy)
        assert sum(now.values()) <= max(sum(self._in_flight.values()), strategy.limit()), "more in flight than places"
        for stage, width in strategy.stage_widths.items():
            most = max(self._in_flight.get(stage, 0), width)
            assert now.get(stage, 0) <= most, "more in flight than the places of a stage"

    def _check_order(self, strategy: Strategy, started: Step) -> None:
        """Check that a step did not start before its turn."""
        is_first = started.position < 0
        for step in strategy.steps:
            if step.not_started and not strategy.holds_alone(step) and not step.cancel_by:
                is_of_later = strategy.rollout.stage_by_stage and step.stage > started.stage
                may_wait = is_first or is_of_later
                assert may_wait or step.stage >= started.stage, "a step starts before one of an earlier stage"
                if step.stage == started.stage:
                    order = (step.position, step.id), (started.position, started.id)
                    assert order[0] > order[1], "a step starts before its turn"
        if strategy.rollout.stage_by_stage:
            assert started.stage == self._open_stage, "a stage starts before the one before it has ended"
            assert not any(started.stage > one for one in self._over), "a stage starts after failures of another"
        now = in_flight(strategy)
        for step in self._parked:
            width = strategy.stage_widths.get(step.stage)
            is_rival = step.stage == started.stage or width is None or now.get(step.stage, 0) < width
            assert not (step.parked and is_rival), "a step starts before a parked one goes on"


def in_flight(strategy: Strategy) -> dict[int, int]:
    """Return the number of steps in flight by stage."""
    found: dict[int, int] = {}
    for step in strategy.steps:
        if step.in_flight:
            found[step.stage] = found.get(step.stage, 0) + 1
    return found


def _ready(strategy: Strategy, preparations: Iterable[Preparation]) -> list[Step]:
    """Return the parked steps that could go on if they had a place."""
    done = {one.from_version for one in preparations if one.owner[0] == strategy.id and one.state == "complete"}
    return [
        step
        for step in strategy.steps
        if step.parked
        and not strategy.stops(step)
        and not step.cancel_by
        and (
            step.state != StepState.PREPARE
            or (step.from_version == RELEASE and not step.resumes)
            or step.from_version in done
        )
    ]


def check_rest(strategy: Strategy, preparations: Iterable[Preparation], now: float) -> None:
    """Check, after a pass of the coordinator, that nothing waits without a reason."""
    if strategy.state not in (StrategyState.APPLYING, StrategyState.ABORTING):
        return
    ended = {step.id for step in strategy.steps if not step.open}
    assert ended.isdisjoint(hold.step_id for hold in strategy.holds), "a hold outlives the step of its site"
    assert any(step.begun for step in strategy.steps) or not strategy.is_halted, "a strategy that is over goes on"
    assert any(step.open for step in strategy.steps), "a strategy without open steps goes on"
    for step in _ready(strategy, preparations):
        assert not _has_place(strategy, step), "a parked step waits though there is a place"
    for step in strategy.steps:
        assert not (step.cancel_by and step.open and step.run is None), "a cancelled step waits for nothing"
        is_queued = step.run is not None and step.run.state == "queued"
        assert not (is_queued and strategy.stops(step)), "a run is left in the queue under a hold"
    if strategy.state == StrategyState.ABORTING:
        assert not strategy.holds, "a hold outlives the abort"
        return
    assert strategy.rollout.time_limit_s is None or _used(strategy, now) < strategy.rollout.time_limit_s, "overdue"
    if strategy.is_halted:
        return
    is_held = any(hold.kind == "budget" for hold in strategy.holds)
    assert is_held or not strategy.is_over_budget, "the budget is exceeded and nothing holds the strategy"
    last = max(step.stage for step in strategy.steps)
    held = {hold.stage for hold in strategy.holds if hold.kind == "budget"}
    assert held.issuperset(set(strategy.stages_over_budget) - {last}), "nothing holds the stages after failures"
    for step in _next_to_start(strategy):
        assert strategy.stops(step) or not _has_place(strategy, step), "a step waits though there is a place"


def _next_to_start(strategy: Strategy) -> list[Step]:
    """Return the steps whose turn it is: those that were put first, and those of the first stage that waits."""
    waiting = [step for step in strategy.steps if step.not_started and not strategy.holds_alone(step)]
    stages = {step.stage for step in waiting}
    if not strategy.is_window or strategy.rollout.stage_by_stage:
        stages = {step.stage for step in strategy.steps if step.open}
        waiting = [step for step in waiting if step.stage == min(stages)]
    return [step for step in waiting if step.position < 0 or step.stage == min(stages)]


def _has_place(strategy: Strategy, step: Step) -> bool:
    if not strategy.is_window:
        return True
    now = in_flight(strategy)
    width = strategy.stage_widths.get(step.stage)
    return sum(now.values()) < strategy.limit() and (width is None or now.get(step.stage, 0) < width)


def _used(strategy: Strategy, now: float) -> float:
    open_holds = [(one.since, None) for one in strategy.holds if one.covers_all]
    held_s, since = held_time([*strategy.held, *open_holds])
    return now - (strategy.applied_at or now) - held_s - (0.0 if since is None else now - since)


def check_ending(strategy: Strategy) -> None:
    """Check that the end of a strategy is the one that its steps call for."""
    states = {step.state for step in strategy.steps}
    if StepState.FAILED in states:
        expected = StrategyState.FAILED
    elif StepState.ABORTED in states:
        expected = StrategyState.ABORTED
    else:
        expected = StrategyState.COMPLETE
    assert expected == strategy.state
    assert not any(step.begun for step in strategy.steps), "a strategy ended that still works"
    assert not strategy.holds, "a hold outlives its strategy"
    still = {step.stage for step in strategy.steps if step.open}
    assert not still or strategy.is_halted, "a strategy ended too early"
    if still and not strategy.was_held and not strategy.is_window and strategy.rollout.max_failures is None:
        failed = {step.stage for step in strategy.steps if step.state == StepState.FAILED}
        assert min(still) > max(failed), "a strategy ended too early"
