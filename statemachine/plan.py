"""The pure decision: rows in, actions out.

Level-triggered: what to do follows from the rows alone, so a lost, repeated or late message, a crash and a restart
are one and the same case. Called after every command, every finished run, at start-up and every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
from statemachine.machines import fire_step, fire_strategy
from statemachine.snapshot import Limits, PreparationKey, PreparationView, RunView, Snapshot, StepView, StrategyView
from statemachine.states import PreparationState, RunOutcome, RunState, StepState, StepType, StrategyState
from statemachine.step_details import earlier_preparation_failed, lost_too_often, phase_failed, shorten, unmanaged


def plan(snapshot: Snapshot, now: float, limits: Limits) -> list[Action]:
    """Return what to do now, in order; an empty list means that nothing is to be done before something changes.

    `now` is the database's clock in seconds since the epoch. Carrying the actions out and planning again reaches a
    state in which nothing is left to do. An action whose `unlocks` is true may let others move: plan again.
    """
    context = _PlanningContext(
        strategy=snapshot.strategy,
        preparations={preparation.key: preparation for preparation in snapshot.preparations},
        now=now,
        limits=limits,
    )
    actions: list[Action] = [*_strategy_actions(snapshot.strategy)]
    for preparation in snapshot.preparations:
        actions += _preparation_actions(preparation, context)
    for step in snapshot.steps:
        actions += _step_actions(step, context)
    return actions


@dataclass(kw_only=True)
class _PlanningContext:
    """What every decision of one planning may look at."""

    strategy: StrategyView | None
    preparations: dict[PreparationKey, PreparationView]
    now: float
    limits: Limits
    # Preparations that this planning asks for already.
    opened: set[PreparationKey] = field(default_factory=set)


def _strategy_actions(strategy: StrategyView | None) -> Iterator[Action]:
    if strategy is None:
        return
    if strategy.state == StrategyState.ABORT_REQUESTED:
        yield AbortWaiting(strategy_id=strategy.id)
        yield _strategy_move(strategy, "abort_waiting")
    elif strategy.state in (StrategyState.APPLYING, StrategyState.ABORTING) and _is_over(strategy):
        yield _strategy_move(strategy, _ending(strategy))


def _strategy_move(strategy: StrategyView, trigger: str) -> MoveStrategy:
    return MoveStrategy(
        strategy_id=strategy.id, from_state=strategy.state, to_state=fire_strategy(strategy.state, trigger)
    )


def _is_over(strategy: StrategyView) -> bool:
    if strategy.open_stage is None:
        return True
    return _is_halted(strategy) and strategy.open_stage > (strategy.failed_stage or 0)


def _is_halted(strategy: StrategyView) -> bool:
    """Tell whether a failure has stopped the strategy: its stage ends, later stages never start (contract 8.3)."""
    return strategy.stop_on_failure and strategy.failed_stage is not None


def _ending(strategy: StrategyView) -> str:
    """Return the trigger that ends a strategy: failed over aborted over complete (contract 7.1)."""
    if strategy.failed_stage is not None:
        return "fail"
    return "abort_done" if strategy.any_aborted else "complete"


def _run_upkeep(run: RunView, context: _PlanningContext) -> Iterator[Action]:
    """Take a run that has no outcome from a dead worker. Workers look for waiting ones by themselves."""
    if run.state != RunState.RUNNING or run.lease_until is None:
        return
    if context.limits.is_lease_over(run.lease_until, context.now):
        yield ExpireRun(run_id=run.id, lease_until=run.lease_until)


def _next_attempt(run: RunView, limits: Limits) -> int | None:
    """Return the number of the attempt that follows a run which says nothing about the site; None when none does."""
    if run.outcome == RunOutcome.DRAINED:
        return run.attempt
    if run.outcome == RunOutcome.LOST and run.attempt < limits.max_attempts:
        return run.attempt + 1
    return None


def _preparation_actions(preparation: PreparationView, context: _PlanningContext) -> Iterator[Action]:
    run = preparation.run
    if run is None or preparation.state != PreparationState.RUNNING:
        return
    if run.state != RunState.FINISHED:
        yield from _run_upkeep(run, context)
    elif (attempt := _next_attempt(run, context.limits)) is not None:
        yield RetryPreparation(preparation_id=preparation.id, attempt=attempt, consumed_run_id=run.id)
    elif run.outcome == RunOutcome.SUCCEEDED:
        yield EndPreparation(
            preparation_id=preparation.id, state=PreparationState.COMPLETE, details="", consumed_run_id=run.id
        )
    else:
        lost = run.outcome == RunOutcome.LOST
        yield EndPreparation(
            preparation_id=preparation.id,
            state=PreparationState.FAILED,
            details=lost_too_often(run.attempt) if lost else run.details,
            consumed_run_id=run.id,
        )


def _step_actions(step: StepView, context: _PlanningContext) -> Iterator[Action]:
    run = step.run
    if run is None:
        if step.state == StepState.INITIAL:
            yield from _start(step, context.strategy)
        elif step.state == StepState.PREPARE:
            yield from _unpark(step, context)
    elif run.state != RunState.FINISHED:
        yield from _run_upkeep(run, context)
    elif run.phase == step.state:
        yield _consume(step, run, context.limits)


def _start(step: StepView, strategy: StrategyView | None) -> Iterator[Action]:
    if step.strategy_id is not None and not _may_start(step, strategy):
        return
    if step.managed:
        yield MoveStep(step_id=step.id, version=step.version, run_phase=StepState.PRECHECK)
    else:
        yield MoveStep(
            step_id=step.id,
            version=step.version,
            path=(fire_step(step.state, "fail"),),
            details=unmanaged(step.subcloud_name),
        )


def _may_start(step: StepView, strategy: StrategyView | None) -> bool:
    return (
        strategy is not None
        and strategy.id == step.strategy_id
        and strategy.state == StrategyState.APPLYING
        and step.stage == strategy.open_stage
        and not _is_halted(strategy)
    )


def _consume(step: StepView, run: RunView, limits: Limits) -> MoveStep:
    """Decide what follows from a finished run of the step's current phase."""
    if run.outcome == RunOutcome.SUCCEEDED:
        return _advance(step, run)
    if run.outcome == RunOutcome.SKIPPED and step.state == StepState.PRECHECK and step.type == StepType.PRESTAGE:
        return _end(step, run, "skip", shorten(run.details))
    attempt = _next_attempt(run, limits)
    if attempt is not None:
        return MoveStep(
            step_id=step.id,
            version=step.version,
            run_phase=StepState(step.state),
            attempt=attempt,
            consumed_run_id=run.id,
            concluded=run,
        )
    # Only the precheck of a prestage may pass a site over: a later phase that says so has not done its work, nor has a
    # removal whose precheck was judged as a prestage, by a worker that knows no removals.
    reason = lost_too_often(run.attempt) if run.outcome == RunOutcome.LOST else run.details
    return _end(step, run, "fail", phase_failed(step.state, step.subcloud_name, reason))


def _end(step: StepView, run: RunView | None, trigger: str, details: str) -> MoveStep:
    return MoveStep(
        step_id=step.id,
        version=step.version,
        path=(fire_step(step.state, trigger),),
        details=details,
        consumed_run_id=run.id if run else None,
        concluded=run,
    )


def _advance(step: StepView, run: RunView) -> MoveStep:
    if step.state == StepState.PRECHECK and step.type == StepType.UNSTAGE:
        unstaging = fire_step(step.state, "unstage")
        return MoveStep(
            step_id=step.id,
            version=step.version,
            path=(unstaging,),
            run_phase=unstaging,
            consumed_run_id=run.id,
            concluded=run,
        )
    if step.state == StepState.PRECHECK:
        prepare = fire_step(step.state, "prepare")
        if step.from_version != step.release:
            return MoveStep(
                step_id=step.id, version=step.version, path=(prepare,), consumed_run_id=run.id, concluded=run
            )
        # A reinstall takes everything from the site itself: nothing to prepare (contract 8.9).
        packages = fire_step(prepare, "stage_packages")
        return MoveStep(
            step_id=step.id,
            version=step.version,
            path=(prepare, packages),
            run_phase=packages,
            consumed_run_id=run.id,
            concluded=run,
        )
    if step.state == StepState.PACKAGES:
        images = fire_step(step.state, "stage_images")
        return MoveStep(
            step_id=step.id,
            version=step.version,
            path=(images,),
            run_phase=images,
            consumed_run_id=run.id,
            concluded=run,
        )
    return _end(step, run, "complete", "")


def _unpark(step: StepView, context: _PlanningContext) -> Iterator[Action]:
    """Move a step that needs a preparation: open it, wait for it, or go on by how it ended."""
    from_version = step.from_version or ""
    key = (step.owner, step.release, from_version)
    preparation = context.preparations.get(key)
    if preparation is None:
        if key not in context.opened:
            context.opened.add(key)
            yield OpenPreparation(
                owner=step.owner, release=step.release, from_version=from_version, opened_by_step_id=step.id
            )
    elif preparation.state == PreparationState.COMPLETE:
        packages = fire_step(step.state, "stage_packages")
        yield MoveStep(step_id=step.id, version=step.version, path=(packages,), run_phase=packages)
    elif preparation.state == PreparationState.FAILED:
        yield _end(step, None, "fail", _preparation_failed(step, preparation))


def _preparation_failed(step: StepView, preparation: PreparationView) -> str:
    if preparation.opened_by_step_id == step.id:
        return phase_failed(step.state, step.subcloud_name, preparation.details)
    return earlier_preparation_failed()
