"""Plan: the actions that follow from the rows.

Level-triggered: the plan depends on rows alone, so that a lost, repeated or late message, a crash and a restart are
the same case. The coordinator plans after every command and every finished run, at start-up and every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from statemachine.actions import (
    AbortWaiting,
    Action,
    EndHolds,
    EndPreparation,
    ExpireRun,
    MoveStep,
    OpenHold,
    OpenPreparation,
    RepeatPreparation,
    RequestCancel,
    RetryPreparation,
    StepChange,
    WithdrawRuns,
)
from statemachine.admission import HoldCoverage, Places, admits, admitted, is_stopped_by_budget, start_order
from statemachine.machines import STEP, StepMachine
from statemachine.rollout import HoldKind, HoldScope, OnPrepareFailure
from statemachine.snapshot import PlanLimits, PreparationKey, PreparationView, RunView, Snapshot, StepView, StrategyView
from statemachine.states import (
    MOVING_STRATEGIES,
    Phase,
    PreparationState,
    RunOutcome,
    RunState,
    StepState,
    StrategyState,
)
from statemachine.step_details import lost_too_often
from statemachine.step_moves import CUT_SHORT, StepMoves, next_attempt
from statemachine.strategy_moves import StrategyMoves


def plan(snapshot: Snapshot, now: float, limits: PlanLimits, machine: StepMachine = STEP) -> list[Action]:
    """Return the actions to carry out now, in order; an empty list stays empty until a row changes or time passes.

    `now` is the database's clock in seconds since the epoch; `machine` has the types of steps that are served.
    Carrying the actions out and planning again reaches a state in which nothing is left to do. An action whose
    `unlocks` is true may let others move: plan again.
    """
    strategy = snapshot.strategy
    holds = HoldCoverage(strategy.id if strategy is not None else None, snapshot.holds)
    context = _PlanningContext(
        strategy=strategy,
        preparations={preparation.key: preparation for preparation in snapshot.preparations},
        now=now,
        limits=limits,
        machine=machine,
        holds=holds,
        moves=StepMoves(machine=machine, limits=limits, holds=holds),
    )
    actions: list[Action] = []
    # Before a cancel, which marks the runs that they get here.
    for preparation in snapshot.preparations:
        actions += _preparation_actions(preparation, context)
    if strategy is not None:
        abort = _change(StepState.INITIAL, "abort", machine)
        awaits_cancel = any(step.cancel_requested and context.is_of_strategy(step) for step in snapshot.steps)
        moves = StrategyMoves(strategy=strategy, holds=holds, abort=abort, awaits_cancel=awaits_cancel, now=now)
        actions += moves.actions()
    # These change many steps at once: each is looked at again after that.
    is_aborting = any(isinstance(action, AbortWaiting | RequestCancel) for action in actions)
    for step in snapshot.steps:
        if not (is_aborting and context.is_of_strategy(step)):
            actions += _step_actions(step, context)
    actions += _admission_actions(context)
    actions += _ends_of_site_holds(actions, context)
    return actions


def start_of(phase: str, machine: StepMachine = STEP) -> StepChange | None:
    """Return the change of a step whose run of `phase` a worker claims; None for all phases but the first.

    A repeat finds the step in its new state and changes nothing.
    """
    is_first = any(phase == kind.states[0] for kind in machine.types.values())
    return _change(StepState.INITIAL, "start", machine) if is_first else None


def retry_of(state: str, machine: StepMachine = STEP) -> StepChange:
    """Return the change of a step that is retried within its strategy.

    Raises:
        IllegalTransitionError: It is in no state that a retry leads out of.
    """
    to_state = machine.fire(state, "retry")
    return StepChange(from_state=StepState(state), to_state=to_state)


def _change(state: StepState, trigger: str, machine: StepMachine) -> StepChange:
    return StepChange(from_state=state, to_state=machine.fire(state, trigger))


@dataclass(kw_only=True)
class _PlanningContext:
    """Input that all actions of one plan share, and what they find on their way."""

    strategy: StrategyView | None
    preparations: dict[PreparationKey, PreparationView]
    now: float
    limits: PlanLimits
    machine: StepMachine
    holds: HoldCoverage
    moves: StepMoves
    # Preparations that this plan opens or repeats already.
    opened: set[PreparationKey] = field(default_factory=set)
    # Queued runs that a hold, the budget or a cancel stops.
    withdrawn: list[int] = field(default_factory=list)
    # Steps of the strategy that need a place: parked ones, and those that have not started.
    parked: list[StepView] = field(default_factory=list)
    waiting: list[StepView] = field(default_factory=list)

    def is_of_strategy(self, step: StepView) -> bool:
        """Return whether a step belongs to the active strategy."""
        return self.strategy is not None and step.strategy_id == self.strategy.id


def _run_upkeep(run: RunView, context: _PlanningContext) -> Iterator[Action]:
    """Expire a running run whose lease is over. Workers find queued runs by themselves."""
    if run.state != RunState.RUNNING or run.lease_until is None:
        return
    if context.limits.is_lease_over(run.lease_until, context.now):
        yield ExpireRun(run_id=run.id, lease_until=run.lease_until)


def _preparation_actions(preparation: PreparationView, context: _PlanningContext) -> Iterator[Action]:
    run = preparation.run
    if run is None or preparation.state != PreparationState.RUNNING:
        return
    if run.state != RunState.FINISHED:
        yield from _run_upkeep(run, context)
    elif (attempt := next_attempt(run, context.limits)) is not None and not run.cancel_requested:
        yield RetryPreparation(
            preparation_id=preparation.id,
            phase=context.machine.phases[run.phase].state,
            attempt=attempt,
            consumed_run_id=run.id,
        )
    else:
        yield _end_preparation(preparation, run)


def _end_preparation(preparation: PreparationView, run: RunView) -> EndPreparation:
    state, details = PreparationState.FAILED, run.details
    if run.outcome == RunOutcome.SUCCEEDED:
        state, details = PreparationState.COMPLETE, ""
    elif run.outcome in CUT_SHORT and (run.cancel_requested or run.outcome == RunOutcome.CANCELLED):
        state = PreparationState.VOID
    elif run.outcome == RunOutcome.LOST:
        details = lost_too_often(run.attempt)
    return EndPreparation(preparation_id=preparation.id, state=state, details=details, consumed_run_id=run.id)


def _step_actions(step: StepView, context: _PlanningContext) -> Iterator[Action]:
    run = step.run
    phase = context.machine.types[step.type].phase_in(step.state)
    if run is None:
        yield from _actions_without_run(step, phase, context)
    elif run.state != RunState.FINISHED:
        if run.state == RunState.QUEUED and _is_stopped(step, context):
            context.withdrawn.append(run.id)
        yield from _run_upkeep(run, context)
    elif phase is not None and run.phase == phase.state:
        yield context.moves.after_run(step, phase, run)


def _is_stopped(step: StepView, context: _PlanningContext) -> bool:
    """Return whether the queued run of a step is taken back."""
    if step.cancel_requested or context.holds.stops_queued_run(step):
        return True
    strategy = context.strategy
    has_started = step.state != StepState.INITIAL
    return strategy is not None and not has_started and context.is_of_strategy(step) and is_stopped_by_budget(strategy)


def _actions_without_run(step: StepView, phase: Phase | None, context: _PlanningContext) -> Iterator[Action]:
    if step.cancel_requested:
        yield context.moves.cancel(step, None)
    elif phase is not None and phase.once_per_strategy:
        yield from _actions_with_preparation(step, phase, context)
    elif step.strategy_id is None:
        yield context.moves.start(step) if phase is None else context.moves.run_phase(step, phase.state)
    elif context.is_of_strategy(step):
        (context.waiting if phase is None else context.parked).append(step)


def _actions_with_preparation(step: StepView, phase: Phase, context: _PlanningContext) -> Iterator[Action]:
    """Move a step that needs a preparation: open it, wait for it, or go on by how it ended."""
    preparation = context.preparations.get(_preparation_key(step))
    is_held = context.holds.stops_phase(step, preparation)
    if is_held and not step.preparing:
        # Parked: nothing that happens to the preparation meanwhile moves it.
        return
    state = PreparationState.VOID if preparation is None else preparation.state
    if preparation is not None and state == PreparationState.FAILED:
        yield from _actions_after_failure(step, preparation, context)
    elif is_held:
        if state != PreparationState.RUNNING:
            yield context.moves.free_place(step)
    elif state == PreparationState.VOID:
        yield from _begin_preparation(step, phase, preparation, context)
    elif state == PreparationState.COMPLETE:
        if step.preparing or step.strategy_id is None:
            yield context.moves.advance(step, phase, None, preparation.content if preparation else None)
        else:
            context.parked.append(step)


def _preparation_key(step: StepView) -> PreparationKey:
    return step.owner, step.release, step.from_version or ""


def _begin_preparation(
    step: StepView, phase: Phase, preparation: PreparationView | None, context: _PlanningContext
) -> Iterator[Action]:
    """Have the preparation made, for the first step that needs it."""
    key = _preparation_key(step)
    if key in context.opened:
        return
    context.opened.add(key)
    if preparation is not None:
        yield RepeatPreparation(preparation_id=preparation.id, phase=phase.state)
        return
    owner, release, from_version = key
    yield OpenPreparation(
        owner=owner, phase=phase.state, release=release, from_version=from_version, opened_by_step_id=step.id
    )


def _actions_after_failure(step: StepView, preparation: PreparationView, context: _PlanningContext) -> Iterator[Action]:
    """Fail a step whose preparation has failed, or hold it, and all others that wait for that preparation."""
    strategy = context.strategy
    if not context.holds.is_preparation_held(preparation):
        is_paused = (
            strategy is not None
            and context.is_of_strategy(step)
            and strategy.state == StrategyState.APPLYING
            and strategy.on_prepare_failure == OnPrepareFailure.PAUSE
        )
        if strategy is None or not is_paused:
            yield context.moves.fail_without_preparation(step, preparation)
            return
        context.holds.add_preparation(preparation)
        yield OpenHold(
            strategy_id=strategy.id,
            kind=HoldKind.PREPARE,
            scope=HoldScope.PHASES,
            preparation_id=preparation.id,
            reason=f"The preparation for sites of {preparation.from_version or 'an unknown version'} failed.",
        )
    if step.preparing:
        yield context.moves.free_place(step)


def _admission_actions(context: _PlanningContext) -> Iterator[Action]:
    """Withdraw the runs that are stopped; give places to parked steps, then to steps that have not started."""
    if context.withdrawn:
        yield WithdrawRuns(run_ids=tuple(context.withdrawn))
    strategy = context.strategy
    if strategy is None or strategy.state not in MOVING_STRATEGIES:
        return
    places = Places(strategy)
    for step in sorted(context.parked, key=start_order):
        if not context.holds.stops_phase(step) and places.take(step.stage):
            yield _go_on(step, context)
    if admits(strategy):
        for step in admitted(context.waiting, strategy, places, context.holds):
            yield context.moves.start(step)


def _ends_of_site_holds(actions: Iterable[Action], context: _PlanningContext) -> Iterator[Action]:
    """End the holds of single sites whose steps end: there is nothing left that they could keep from beginning."""
    ended = tuple(
        action.step_id
        for action in actions
        if isinstance(action, MoveStep) and action.outcome is not None and context.holds.names(action.step_id)
    )
    if ended and context.strategy is not None:
        yield EndHolds(strategy_id=context.strategy.id, step_ids=ended)


def _go_on(step: StepView, context: _PlanningContext) -> Action:
    """Give a parked step the run of its phase, or of the next one when its preparation is complete."""
    phase = context.machine.phases[step.state]
    if phase.once_per_strategy:
        preparation = context.preparations.get(_preparation_key(step))
        return context.moves.advance(step, phase, None, preparation.content if preparation else None)
    return context.moves.run_phase(step, phase.state)
