"""Explain: why a site is where it is, in one sentence, by the conditions that the plan itself decides with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Final

from statemachine.admission import (
    HoldCoverage,
    Obstacle,
    Places,
    is_budget_exceeded,
    is_halted,
    obstacle,
)
from statemachine.rollout import HoldKind, HoldScope, StepOutcome
from statemachine.snapshot import HoldView, PreparationView, RunView, StepView, StrategyView
from statemachine.states import (
    STRATEGY_TYPES,
    TERMINAL_STEPS,
    PreparationState,
    RunState,
    StepState,
    StrategyState,
)

_ENDS: Final = {
    StepOutcome.COMPLETE: "is complete",
    StepOutcome.SKIPPED: "was skipped",
    StepOutcome.FAILED: "failed",
    StepOutcome.ABORTED: "was aborted before it started",
    StepOutcome.CANCELLED: "was stopped",
}


@dataclass(frozen=True, kw_only=True)
class SiteSituation:
    """A site of the active strategy, with all that its next move depends on."""

    step: StepView
    strategy: StrategyView
    # See `StepOutcome`; None while the step is open.
    outcome: str | None = None
    details: str = ""
    holds: tuple[HoldView, ...] = ()
    # Who or what made each hold, and why, by its id.
    hold_reasons: Mapping[int, str] = field(default_factory=dict)
    # The preparation that the step waits for; None: there is none yet.
    preparation: PreparationView | None = None
    # Of a window: steps that have not started and come before this one, by stage, but for those held by themselves.
    waiting_before: Mapping[int, int] = field(default_factory=dict)
    # Queued runs for the same workers that were handed out before its own.
    runs_before: int = 0
    # Sentence about workers that are missing for its run; empty: there are some.
    missing_worker: str = ""


def explain(situation: SiteSituation) -> str:
    """Return one sentence for people: why the site is where it is."""
    step, strategy = situation.step, situation.strategy
    if step.state in TERMINAL_STEPS:
        return _ended(situation)
    if step.cancel_requested:
        return f"{step.subcloud_name} is being stopped, as {step.cancel_requested_by or 'somebody'} asked."
    if strategy.state == StrategyState.INITIAL:
        return f"{step.subcloud_name} has not started, for the strategy is not applied yet."
    if step.run is not None:
        return _with_run(situation, step.run)
    phase = STRATEGY_TYPES[step.type].phase_in(step.state)
    if phase is None:
        return _not_started(situation)
    return _preparing(situation) if phase.once_per_strategy and step.preparing else _parked(situation)


def _ended(situation: SiteSituation) -> str:
    end = _ENDS.get(StepOutcome(situation.outcome), "has ended") if situation.outcome else "has ended"
    why = f": {situation.details}" if situation.details else "."
    return f"{situation.step.subcloud_name} {end}{why}"


def _with_run(situation: SiteSituation, run: RunView) -> str:
    name = situation.step.subcloud_name
    again = f", attempt {run.attempt} after a lost worker," if run.attempt > 1 else ""
    if run.state == RunState.QUEUED:
        before = _count(situation.runs_before, "run") + " before it"
        missing = f"; {situation.missing_worker}" if situation.missing_worker else "."
        return f"{name} waits for a free slot of a worker for {run.phase}{again} with {before}{missing}"
    if run.state == RunState.RUNNING:
        return f"{name} is being worked on: a worker carries out {run.phase}{again.removesuffix(',')}."
    return f"{name} has ended {run.phase}; what follows is decided in a moment."


def _not_started(situation: SiteSituation) -> str:
    name, strategy = situation.step.subcloud_name, situation.strategy
    if strategy.state != StrategyState.APPLYING:
        return f"{name} does not start any more, for the strategy is {strategy.state}."
    if is_halted(strategy):
        return f"{name} does not start any more, for a failure has stopped the strategy for good."
    if is_budget_exceeded(strategy):
        failed = _count(strategy.failed, "site")
        return f"{name} does not start, for at least {failed} failed and {strategy.max_failures} may."
    return f"{name} {_obstacle_words(situation)}"


def _obstacle_words(situation: SiteSituation) -> str:
    strategy, step = situation.strategy, situation.step
    places, holds = Places(strategy), HoldCoverage(strategy.id, situation.holds)
    waiting_stage = _take_places(situation, places)
    found = obstacle(step, strategy, places, holds, waiting_stage)
    if found == Obstacle.HOLD:
        return f"does not start, for {_hold_reason(situation, holds)}"
    if found == Obstacle.STAGE:
        first = strategy.open_stage if strategy.has_open_stage_only else int(waiting_stage)
        return f"is in stage {step.stage} and waits for stage {first}."
    if found == Obstacle.PLACE:
        before = _count(sum(situation.waiting_before.values()), "site")
        flight = _count(strategy.in_flight, "site")
        return f"waits for a place in the window: {flight} in flight, and {before} before it."
    return "starts in a moment: nothing keeps it."


def _take_places(situation: SiteSituation, places: Places) -> float:
    """Take the places of the steps before; return the first stage of which one found none."""
    waiting_stage = inf
    for stage, number in sorted(situation.waiting_before.items()):
        taken = 0
        while taken < number and places.take(stage):
            taken += 1
        if taken < number:
            waiting_stage = min(waiting_stage, stage)
    return waiting_stage


def _preparing(situation: SiteSituation) -> str:
    step, preparation = situation.step, situation.preparation
    what = f"the preparation of release {step.release} for sites of {step.from_version}"
    if preparation is None or preparation.state != PreparationState.RUNNING:
        return f"{step.subcloud_name} waits for {what}, which is decided in a moment."
    run = preparation.run
    does = "waits for a worker" if run is None or run.state == RunState.QUEUED else "goes on"
    return f"{step.subcloud_name} waits for {what}, which {does}."


def _parked(situation: SiteSituation) -> str:
    step, strategy = situation.step, situation.strategy
    holds = HoldCoverage(strategy.id, situation.holds)
    if holds.stops_phase(step, situation.preparation):
        return f"{step.subcloud_name} does not go on with {step.state}, for {_hold_reason(situation, holds)}"
    if Places(strategy).free(step.stage) < 1:
        flight = _count(strategy.in_flight, "site")
        return f"{step.subcloud_name} waits for a place to go on with {step.state}: {flight} in flight."
    return f"{step.subcloud_name} goes on with {step.state} in a moment: nothing keeps it."


def _hold_reason(situation: SiteSituation, holds: HoldCoverage) -> str:
    """Return who or what holds the site, the narrowest hold first, with a full stop."""
    step = situation.step
    has_begun = step.state != StepState.INITIAL
    covering = [
        hold
        for hold in (*holds.holds_on(step), *_of_preparation(situation))
        if not has_begun or hold.scope == HoldScope.PHASES
    ]
    reasons = [situation.hold_reasons[hold.id] for hold in covering if hold.id in situation.hold_reasons]
    return f"{(reasons or [_without_hold(situation)])[0].removesuffix('.')}."


def _without_hold(situation: SiteSituation) -> str:
    """Return the reason in the moment before the hold of a stage that has ended is made."""
    ended = situation.strategy.ended_stage
    if ended is None or situation.step.stage <= ended.stage:
        return "a hold covers it"
    return f"stage {ended.name} has ended, and what follows is decided in a moment"


def _of_preparation(situation: SiteSituation) -> tuple[HoldView, ...]:
    wanted = situation.preparation.id if situation.preparation is not None else None
    return tuple(hold for hold in situation.holds if hold.preparation_id is not None and hold.preparation_id == wanted)


def hold_reason(kind: str, *, by: str, reason: str, is_of_site: bool, until: datetime | None = None) -> str:
    """Return who or what holds a strategy or a site, and why.

    Args:
        kind: See `HoldKind`.

        by: The caller; empty for a hold of the plan.

        reason: Sentence for people; may be empty.

        is_of_site: It holds the site alone.

        until: When it ends by itself, in UTC; None: it does not.
    """
    what = "it" if is_of_site else "the strategy"
    holder = {
        HoldKind.OPERATOR: by or "an operator",
        HoldKind.BUDGET: "the failure budget",
        HoldKind.PREPARE: "a failed preparation",
        HoldKind.SOAK: "the soak time of the stage before",
        HoldKind.GATE: "the gate after the stage before",
    }[HoldKind(kind)]
    end = f" until {until:%Y-%m-%d %H:%M:%S} UTC" if until is not None else ""
    why = f": {reason}" if reason else ""
    return f"{holder} holds {what}{end}{why}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
