"""Load the active strategy for a plan: its row, aggregates of its steps, its holds, and counts where its rollout asks.

A strategy without holds and options of a rollout costs one statement, however many steps it has. Each aggregate is the
end of an index, and each count stops at the number above which it decides nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)

from db.schema import (
    holds,
    step_has_begun,
    step_has_ended,
    step_is_in_flight,
    step_is_open,
    steps,
    strategies,
    strategy_is_active,
    strategy_stages,
)
from statemachine.rollout import BETWEEN_STAGES, OnBudget, OnPrepareFailure, OnTimeLimit, RolloutMode, StepOutcome
from statemachine.snapshot import EndedStage, HoldView, StrategyView
from statemachine.states import MOVING_STRATEGIES, StepState
from statemachine.time_limits import STRATEGY_LIMIT, held_time

# A row of any columns.
AnyRow = Row[*tuple[Any, ...]]

_OF_STRATEGY: Final = steps.c.strategy_id == bindparam("of_strategy", type_=steps.c.strategy_id.type)


def _strategy_query() -> Select[Any]:
    """Select the active strategy with aggregates of its steps."""
    of_strategy = steps.c.strategy_id == strategies.c.id
    first_open = select(steps.c.stage).where(of_strategy, step_is_open).order_by(steps.c.stage).limit(1)
    last_failed = (
        select(steps.c.stage)
        .where(of_strategy, step_has_ended, steps.c.state == StepState.FAILED)
        .order_by(steps.c.stage.desc())
        .limit(1)
    )
    aborted = _is_any(steps.c.stage, of_strategy, step_has_ended, steps.c.state == StepState.ABORTED)
    # Each branch in the words of a partial index.
    begun = or_(
        _is_any(steps.c.stage, of_strategy, step_is_open, step_is_in_flight),
        _is_any(steps.c.state, of_strategy, step_is_open, step_has_begun, steps.c.run_id.is_(None)),
    )
    was_held = exists().where(holds.c.strategy_id == strategies.c.id)
    moves = strategies.c.state.in_(MOVING_STRATEGIES)
    return select(
        strategies.c.id,
        strategies.c.state,
        strategies.c.stop_on_failure,
        strategies.c.mode,
        strategies.c.stage_by_stage,
        strategies.c.max_parallel_subclouds,
        strategies.c.rollout,
        strategies.c.max_failures,
        strategies.c.applied_at,
        strategies.c.cancel_requested_at,
        strategies.c.cancel_requested_by,
        case((moves, first_open.correlate(strategies).scalar_subquery())).label("open_stage"),
        case((moves, last_failed.correlate(strategies).scalar_subquery())).label("failed_stage"),
        case((moves, aborted)).label("any_aborted"),
        case((moves, begun)).label("any_begun"),
        case((moves, was_held.correlate(strategies))).label("was_held"),
    ).where(strategy_is_active)


def _is_any(column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return whether a strategy has such steps, read from the end of an index that orders them by `column`.

    A planner that expects many of them would read the whole table for an `exists`, and does where there are none.
    """
    first = select(column).where(*conditions).order_by(column).limit(1).correlate(strategies)
    return first.scalar_subquery().is_not(None)


def _count_query(condition: ColumnElement[bool]) -> Select[Any]:
    """Select the number of steps of a strategy that match, counted up to the parameter `most`."""
    found = select(steps.c.id).where(_OF_STRATEGY, condition).limit(bindparam("most")).subquery()
    return select(func.count()).select_from(found)


_STRATEGY: Final = _strategy_query()
_HOLDS: Final = (
    select(
        *(holds.c.id, holds.c.kind, holds.c.scope, holds.c.step_id, holds.c.preparation_id, holds.c.stage),
        *(holds.c.since, holds.c.until, holds.c.ended_at),
    )
    .where(holds.c.strategy_id == bindparam("of_strategy", type_=holds.c.strategy_id.type))
    .order_by(holds.c.id)
)
_OPEN_HOLDS: Final = _HOLDS.where(holds.c.ended_at.is_(None))
_HAS_FAILED: Final = and_(step_has_ended, steps.c.state == StepState.FAILED)
# The outcome alone says the same, but the index of ended steps goes by the state.
_HAS_SUCCEEDED: Final = and_(
    step_has_ended, steps.c.state == StepState.COMPLETE, steps.c.outcome == StepOutcome.COMPLETE
)
_FAILED: Final = _count_query(_HAS_FAILED)
_FAILED_OF_STAGE: Final = _count_query(
    and_(_HAS_FAILED, steps.c.stage == bindparam("of_stage", type_=steps.c.stage.type))
)
_ANY_SUCCEEDED: Final = (
    select(steps.c.stage)
    .where(
        _OF_STRATEGY,
        _HAS_SUCCEEDED,
        steps.c.stage == bindparam("of_stage", type_=steps.c.stage.type),
    )
    .limit(1)
)
_SUCCEEDED: Final = _count_query(_HAS_SUCCEEDED)
_STAGES: Final = select(
    strategy_stages.c.stage,
    strategy_stages.c.width,
    strategy_stages.c.max_failures,
    select(func.count())
    .select_from(steps)
    .where(
        and_(steps.c.strategy_id == strategy_stages.c.strategy_id, steps.c.stage == strategy_stages.c.stage),
        step_is_open,
        step_is_in_flight,
    )
    .correlate(strategy_stages)
    .scalar_subquery()
    .label("in_flight"),
).where(strategy_stages.c.strategy_id == bindparam("of_strategy", type_=strategy_stages.c.strategy_id.type))


def load_strategy(connection: Connection) -> tuple[StrategyView | None, tuple[HoldView, ...]]:
    """Return the active strategy and its open holds."""
    row = connection.execute(_STRATEGY).one_or_none()
    if row is None:
        return None, ()
    timeouts = row.rollout.get("timeouts") or {}
    found = _holds(connection, row.id, is_timed=STRATEGY_LIMIT in timeouts) if row.was_held else ()
    held_s, held_since = held_time(
        (one.since.timestamp(), None if one.ended_at is None else one.ended_at.timestamp())
        for one in found
        if _covers_all(one)
    )
    strategy = StrategyView(
        id=row.id,
        state=row.state,
        stop_on_failure=row.stop_on_failure,
        open_stage=row.open_stage,
        failed_stage=row.failed_stage,
        any_aborted=bool(row.any_aborted),
        any_begun=bool(row.any_begun),
        max_failures=row.max_failures,
        failed=0 if row.max_failures is None else _count(connection, _FAILED, row.id, row.max_failures + 1),
        on_budget=row.rollout.get("on-budget") or OnBudget.PAUSE,
        on_prepare_failure=row.rollout.get("on-prepare-failure") or OnPrepareFailure.FAIL,
        time_limit_s=timeouts.get(STRATEGY_LIMIT),
        on_time_limit=timeouts.get("on-strategy-limit") or OnTimeLimit.ABORT,
        applied_at_epoch=None if row.applied_at is None else row.applied_at.timestamp(),
        held_s=held_s,
        held_since_epoch=held_since,
        cancel_requested=row.cancel_requested_at is not None,
        cancel_requested_by=row.cancel_requested_by or "",
        **(_window(connection, row) if row.mode == RolloutMode.WINDOW and row.state in MOVING_STRATEGIES else {}),
    )
    return strategy, tuple(_hold(one) for one in found if one.ended_at is None)


def _window(connection: Connection, row: AnyRow) -> Mapping[str, Any]:
    """Return the fields of the view that count in a sliding window only."""
    stages = connection.execute(_STAGES, {"of_strategy": row.id}).all()
    ramp = row.rollout.get("ramp")
    # That of a group which the request named is also that of its only stage.
    width = row.max_parallel_subclouds
    most = width or sum(stage.width or 0 for stage in stages)
    return {
        "mode": row.mode,
        "width": width,
        **_stage_budgets(connection, row.id, stages),
        "stage_by_stage": row.stage_by_stage,
        "ended_stage": _ended_stage(connection, row),
        "stage_widths": {stage.stage: stage.width for stage in stages if stage.width is not None},
        "in_flight": sum(stage.in_flight for stage in stages),
        "in_flight_by_stage": {stage.stage: stage.in_flight for stage in stages},
        "ramp_start": ramp["start"] if ramp else None,
        "succeeded": _count(connection, _SUCCEEDED, row.id, most) if ramp else 0,
    }


def _ended_stage(connection: Connection, row: AnyRow) -> EndedStage | None:
    """Return the first stage before the open one that is not passed; strategies of older programs have none."""
    for one in row.rollout.get("stages") or ():
        number = one["stage"]
        if number is None or row.open_stage is None or number >= row.open_stage:
            continue
        if one.get("passed-at", "") is None:
            return EndedStage(
                stage=number,
                name=one["name"],
                soak_s=one.get("soak-s") or 0,
                is_gated=one.get("gate") is not None and one.get("decision") is None,
                any_succeeded=connection.execute(_ANY_SUCCEEDED, {"of_strategy": row.id, "of_stage": number}).first()
                is not None,
            )
    return None


def _stage_budgets(connection: Connection, strategy_id: int, stages: Sequence[AnyRow]) -> Mapping[str, Any]:
    """Return the fields of the view about failure budgets of single stages."""
    budgets = {stage.stage: stage.max_failures for stage in stages if stage.max_failures is not None}
    if not budgets:
        return {}
    return {
        "stage_budgets": budgets,
        "failed_by_stage": {
            stage: _count(connection, _FAILED_OF_STAGE, strategy_id, budget + 1, of_stage=stage)
            for stage, budget in budgets.items()
        },
        "last_stage": max(stage.stage for stage in stages),
    }


def _holds(connection: Connection, strategy_id: int, *, is_timed: bool) -> Sequence[AnyRow]:
    """Return the open holds of a strategy; with a time limit also the ended ones, whose time does not count."""
    return connection.execute(_HOLDS if is_timed else _OPEN_HOLDS, {"of_strategy": strategy_id}).all()


def _count(connection: Connection, query: Select[Any], strategy_id: int, most: int, **more: int) -> int:
    return int(connection.execute(query, {"of_strategy": strategy_id, "most": most, **more}).scalar_one())


def _covers_all(hold: AnyRow) -> bool:
    """Return whether all that could move is held: between two stages the earlier ones have ended."""
    if hold.kind in BETWEEN_STAGES:
        return True
    return hold.step_id is None and hold.preparation_id is None and hold.stage is None


def _hold(row: AnyRow) -> HoldView:
    return HoldView(
        id=row.id,
        kind=row.kind,
        scope=row.scope,
        step_id=row.step_id,
        preparation_id=row.preparation_id,
        stage=row.stage,
        until_epoch=None if row.until is None else row.until.timestamp(),
    )
