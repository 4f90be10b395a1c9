"""Load the snapshot of a plan: only rows that may have to change, by index, whatever the size of the strategy.

The conditions here are an optimisation of `statemachine.plan` and must never hide a row that has to change: a test
compares the plan of these rows with the plan of all open rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, literal, or_, select

from db.schema import database_now, preparations, runs, steps, strategies, strategy_is_active, subclouds
from statemachine.snapshot import PlanLimits, PreparationView, RunView, Snapshot, StepView, StrategyView
from statemachine.states import (
    MOVING_STRATEGIES,
    SHARED_PHASES,
    ManagementState,
    PreparationState,
    RunState,
    StepState,
    StrategyState,
)

# A row of any columns.
AnyRow = Row[*tuple[Any, ...]]

_RUN_COLUMNS: Final = (
    runs.c.id.label("run_id"),
    runs.c.phase,
    runs.c.attempt,
    runs.c.state.label("run_state"),
    runs.c.outcome,
    runs.c.details.label("run_details"),
    runs.c.lease_until,
)
_STEP_COLUMNS: Final = (
    steps.c.id,
    steps.c.strategy_id,
    steps.c.stage,
    steps.c.state,
    steps.c.version,
    steps.c.subcloud_name,
    steps.c.type,
    steps.c.release,
    steps.c.from_version,
    subclouds.c.management_state,
)
_STEPS: Final = (
    select(*_STEP_COLUMNS, *_RUN_COLUMNS)
    .select_from(
        steps.outerjoin(subclouds, subclouds.c.id == steps.c.subcloud_id).outerjoin(runs, runs.c.id == steps.c.run_id)
    )
    .where(steps.c.finished_at.is_(None))
)


def database_time(connection: Connection) -> float:
    """Return the database's clock in seconds since the epoch."""
    return float(connection.execute(select(database_now())).scalar_one())


def load_snapshot(connection: Connection, now: float, limits: PlanLimits) -> Snapshot:
    """Return the rows that may have to change at `now` (the database's clock, in seconds)."""
    strategy = _load_strategy(connection)
    rows: dict[int, AnyRow] = {}
    for query in _attention(strategy, now, limits):
        rows |= {row.id: row for row in connection.execute(query)}
    return Snapshot(
        strategy=strategy,
        steps=tuple(_step(rows[step_id]) for step_id in sorted(rows)),
        preparations=_load_preparations(connection, strategy),
    )


def load_all_open(connection: Connection) -> Snapshot:
    """Return every open row; the plan is the same as that of `load_snapshot`."""
    strategy = _load_strategy(connection)
    return Snapshot(
        strategy=strategy,
        steps=tuple(_step(row) for row in connection.execute(_STEPS.order_by(steps.c.id))),
        preparations=_load_preparations(connection, strategy),
    )


def _load_strategy(connection: Connection) -> StrategyView | None:
    row = connection.execute(select(strategies).where(strategy_is_active)).one_or_none()
    if row is None:
        return None
    open_stage = failed_stage = None
    any_aborted = False
    if row.state in MOVING_STRATEGIES:
        of_strategy = steps.c.strategy_id == row.id
        open_stage = connection.execute(
            select(func.min(steps.c.stage)).where(of_strategy, steps.c.finished_at.is_(None))
        ).scalar()
        failed_stage = connection.execute(
            select(func.max(steps.c.stage)).where(of_strategy, steps.c.state == StepState.FAILED)
        ).scalar()
        any_aborted = bool(
            connection.execute(select(exists().where(of_strategy, steps.c.state == StepState.ABORTED))).scalar()
        )
    return StrategyView(
        id=row.id,
        state=row.state,
        stop_on_failure=row.stop_on_failure,
        open_stage=open_stage,
        failed_stage=failed_stage,
        any_aborted=any_aborted,
    )


def _attention(strategy: StrategyView | None, now: float, limits: PlanLimits) -> Iterator[Select[Any]]:
    overdue = or_(
        runs.c.state == RunState.FINISHED,
        and_(
            runs.c.state == RunState.RUNNING,
            or_(runs.c.lease_until < now, runs.c.lease_until > limits.latest_lease(now)),
        ),
    )
    # Start from the few runs that are not consumed.
    yield (
        select(*_STEP_COLUMNS, *_RUN_COLUMNS)
        .select_from(
            runs.join(steps, and_(steps.c.id == runs.c.step_id, steps.c.run_id == runs.c.id)).outerjoin(
                subclouds, subclouds.c.id == steps.c.subcloud_id
            )
        )
        .where(~runs.c.consumed, overdue, steps.c.finished_at.is_(None))
    )
    standalone = steps.c.strategy_id.is_(None)
    yield _STEPS.where(standalone, steps.c.run_id.is_(None))
    if strategy is None:
        return
    of_strategy = steps.c.strategy_id == literal(strategy.id)
    if strategy.state == StrategyState.APPLYING and strategy.open_stage is not None:
        yield _STEPS.where(
            of_strategy,
            steps.c.stage == strategy.open_stage,
            steps.c.state == StepState.INITIAL,
            steps.c.run_id.is_(None),
        )
    if strategy.state in MOVING_STRATEGIES:
        waits = exists().where(
            preparations.c.strategy_id == steps.c.strategy_id,
            preparations.c.release == steps.c.release,
            preparations.c.from_version == steps.c.from_version,
            preparations.c.state == PreparationState.RUNNING,
        )
        yield _STEPS.where(of_strategy, steps.c.state.in_(SHARED_PHASES), steps.c.run_id.is_(None), ~waits)


def _load_preparations(connection: Connection, strategy: StrategyView | None) -> tuple[PreparationView, ...]:
    open_standalone = select(steps.c.id).where(steps.c.strategy_id.is_(None), steps.c.finished_at.is_(None))
    owned: ColumnElement[bool] = preparations.c.step_id.in_(open_standalone)
    if strategy is not None and strategy.state in MOVING_STRATEGIES:
        owned = or_(owned, preparations.c.strategy_id == strategy.id)
    query = (
        select(
            preparations.c.id,
            preparations.c.strategy_id,
            preparations.c.step_id,
            preparations.c.release,
            preparations.c.from_version,
            preparations.c.opened_by_step_id,
            preparations.c.state,
            preparations.c.details,
            *_RUN_COLUMNS,
        )
        .select_from(preparations.outerjoin(runs, runs.c.id == preparations.c.run_id))
        .where(owned)
        .order_by(preparations.c.id)
    )
    return tuple(_preparation(row) for row in connection.execute(query))


def _run(row: AnyRow) -> RunView | None:
    if row.run_id is None:
        return None
    return RunView(
        id=row.run_id,
        phase=row.phase,
        attempt=row.attempt,
        state=row.run_state,
        outcome=row.outcome,
        details=row.run_details,
        lease_until=row.lease_until,
    )


def _step(row: AnyRow) -> StepView:
    return StepView(
        id=row.id,
        strategy_id=row.strategy_id,
        stage=row.stage,
        state=row.state,
        version=row.version,
        subcloud_name=row.subcloud_name,
        managed=row.management_state == ManagementState.MANAGED,
        type=row.type,
        release=row.release,
        from_version=row.from_version,
        run=_run(row),
    )


def _preparation(row: AnyRow) -> PreparationView:
    return PreparationView(
        id=row.id,
        owner=(row.strategy_id, row.step_id),
        release=row.release,
        from_version=row.from_version,
        opened_by_step_id=row.opened_by_step_id,
        state=row.state,
        details=row.details,
        run=_run(row),
    )
