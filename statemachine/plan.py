"""Plan: the actions that follow from the rows.

Level-triggered: the plan depends on rows alone, so that a lost, repeated or late message, a crash and a restart are
the same case. The coordinator plans after every command and every finished run, at start-up and every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from statemachine.actions import (
    AbortWaiting,
    Action,
    EndPreparation,
    ExpireRun,
    MoveStep,
    MoveStrategy,
    OpenPreparation,
    RetryPreparation,
    StepChange,
)
from statemachine.machines import STEP, StepMachine, fire_strategy
from statemachine.snapshot import PlanLimits, PreparationKey, PreparationView, RunView, Snapshot, StepView, StrategyView
from statemachine.states import Phase, PreparationState, RunOutcome, RunState, StepState, StrategyState
from statemachine.step_details import earlier_preparation_failed, lost_too_often, phase_failed, shorten, unmanaged


def plan(snapshot: Snapshot, now: float, limits: PlanLimits, machine: StepMachine = STEP) -> list[Action]:
    """Return the actions to carry out now, in order; an empty list stays empty until a row changes or time passes.

    `now` is the database's clock in seconds since the epoch; `machine` has the types of steps that are served.
    Carrying the actions out and planning again reaches a state in which nothing is left to do. An action whose
    `unlocks` is true may let others move: plan again.
    """
    context = _PlanningContext(
        strategy=snapshot.strategy,
        preparations={preparation.key: preparation for preparation in snapshot.preparations},
        now=now,
        limits=limits,
        machine=machine,
    )
    actions: list[Action] = [*_strategy_actions(snapshot.strategy, context)]
    for preparation in snapshot.preparations:
        actions += _preparation_actions(preparation, context)
    for step in snapshot.steps:
        actions += _step_actions(step, context)
    return actions


def start_of(phase: str, machine: StepMachine = STEP) -> StepChange | None:
    """Return the change of a step whose run of `phase` a worker claims; None for all phases but the first.

    A repeat finds the step in its new state and changes nothing.
    """
    is_first = any(phase == kind.states[0] for kind in machine.types.values())
    return _change(StepState.INITIAL, "start", machine) if is_first else None


def _change(state: StepState, trigger: str, machine: StepMachine) -> StepChange:
    return StepChange(from_state=state, to_state=machine.fire(state, trigger))


@dataclass(kw_only=True)
class _PlanningContext:
    """Input that all actions of one plan share."""

    strategy: StrategyView | None
    preparations: dict[PreparationKey, PreparationView]
    now: float
    limits: PlanLimits
    machine: StepMachine
    # Preparations that this plan opens already.
    opened: set[PreparationKey] = field(default_factory=set)


def _strategy_actions(strategy: StrategyView | None, context: _PlanningContext) -> Iterator[Action]:
    if strategy is None:
        return
    if strategy.state == StrategyState.ABORT_REQUESTED:
        yield AbortWaiting(strategy_id=strategy.id, change=_change(StepState.INITIAL, "abort", context.machine))
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
    """Return whether a failure has stopped the strategy: its stage ends, later stages never start (contract 8.3)."""
    return strategy.stop_on_failure and strategy.failed_stage is not None


def _ending(strategy: StrategyView) -> str:
    """Return the trigger that ends a strategy: failed over aborted over complete (contract 7.1)."""
    if strategy.failed_stage is not None:
        return "fail"
    return "abort_done" if strategy.any_aborted else "complete"


def _run_upkeep(run: RunView, context: _PlanningContext) -> Iterator[Action]:
    """Expire a running run whose lease is over. Workers find queued runs by themselves."""
    if run.state != RunState.RUNNING or run.lease_until is None:
        return
    if context.limits.is_lease_over(run.lease_until, context.now):
        yield ExpireRun(run_id=run.id, lease_until=run.lease_until)


def _next_attempt(run: RunView, limits: PlanLimits) -> int | None:
    """Return the number of the next attempt after a lost or drained run; None: the phase is not run again."""
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
        yield RetryPreparation(
            preparation_id=preparation.id,
            phase=context.machine.phases[run.phase].state,
            attempt=attempt,
            consumed_run_id=run.id,
        )
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
    phase = context.machine.types[step.type].phase_in(step.state)
    if run is None:
        if step.state == StepState.INITIAL:
            yield from _start(step, context)
        elif phase is not None and phase.once_per_strategy:
            yield from _unpark(step, phase, context)
    elif run.state != RunState.FINISHED:
        yield from _run_upkeep(run, context)
    elif phase is not None and run.phase == phase.state:
        yield _move_of_ended_run(step, phase, run, context)


def _start(step: StepView, context: _PlanningContext) -> Iterator[Action]:
    """Dispatch the first run of a step; the step itself moves when a worker claims that run (`start_of`)."""
    if step.strategy_id is not None and not _may_start(step, context.strategy):
        return
    if step.managed:
        yield replace(_move(step, None), run_phase=context.machine.types[step.type].states[0])
    else:
        yield _end(step, None, "fail", unmanaged(step.subcloud_name), context.machine)


def _may_start(step: StepView, strategy: StrategyView | None) -> bool:
    return (
        strategy is not None
        and strategy.id == step.strategy_id
        and strategy.state == StrategyState.APPLYING
        and step.stage == strategy.open_stage
        and not _is_halted(strategy)
    )


def _move_of_ended_run(step: StepView, phase: Phase, run: RunView, context: _PlanningContext) -> MoveStep:
    """Return the move that follows from a finished run of the step's current phase."""
    kind = context.machine.types[step.type]
    if run.outcome == RunOutcome.SUCCEEDED:
        return _advance(step, phase, run, context.machine)
    if run.outcome == RunOutcome.SKIPPED and kind.may_skip and phase == kind.phases[0]:
        return _end(step, run, "skip", shorten(run.details), context.machine)
    attempt = _next_attempt(run, context.limits)
    if attempt is not None:
        return replace(_move(step, run), run_phase=phase.state, attempt=attempt)
    # Only the first phase of some types may pass a site over: a later phase that says so has not done its work, nor
    # has a removal whose precheck was judged as a prestage, by a worker that knows no removals.
    reason = lost_too_often(run.attempt) if run.outcome == RunOutcome.LOST else run.details
    details = phase_failed(phase.state, step.subcloud_name, reason, context.machine.phases)
    return _end(step, run, "fail", details, context.machine)


def _end(step: StepView, run: RunView | None, trigger: str, details: str, machine: StepMachine) -> MoveStep:
    return replace(_move(step, run), path=(machine.fire(step.state, trigger),), details=details)


def _advance(step: StepView, phase: Phase, run: RunView | None, machine: StepMachine) -> MoveStep:
    """Move a step to the next phase that has work for it; after the last one it is complete."""
    path: list[StepState] = []
    state: str = step.state
    for following in machine.types[step.type].phases_after(phase):
        state = machine.fire(state, following.trigger)
        path.append(state)
        if not following.once_per_strategy:
            return replace(_move(step, run), path=tuple(path), run_phase=state)
        if step.from_version != step.release:
            return replace(_move(step, run), path=tuple(path))
        # A reinstall takes everything from the site itself: nothing to prepare (contract 8.9).
    return replace(_move(step, run), path=(*path, machine.fire(state, "complete")))


def _move(step: StepView, run: RunView | None) -> MoveStep:
    """Return a move that leaves the step where it is; `run` is the finished run that the move comes from."""
    return MoveStep(
        step_id=step.id,
        version=step.version,
        consumed_run_id=run.id if run else None,
        completed_run=run,
    )


def _unpark(step: StepView, phase: Phase, context: _PlanningContext) -> Iterator[Action]:
    """Move a step that needs a preparation: open it, wait for it, or go on by how it ended."""
    from_version = step.from_version or ""
    key = (step.owner, step.release, from_version)
    preparation = context.preparations.get(key)
    if preparation is None:
        if key not in context.opened:
            context.opened.add(key)
            yield OpenPreparation(
                owner=step.owner,
                phase=phase.state,
                release=step.release,
                from_version=from_version,
                opened_by_step_id=step.id,
            )
    elif preparation.state == PreparationState.COMPLETE:
        yield _advance(step, phase, None, context.machine)
    elif preparation.state == PreparationState.FAILED:
        details = _preparation_failed(step, preparation, context.machine)
        yield _end(step, None, "fail", details, context.machine)


def _preparation_failed(step: StepView, preparation: PreparationView, machine: StepMachine) -> str:
    if preparation.opened_by_step_id == step.id:
        return phase_failed(step.state, step.subcloud_name, preparation.details, machine.phases)
    return earlier_preparation_failed()
