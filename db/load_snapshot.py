"""Load the snapshot of a plan: only rows that may have to change, by index, whatever the size of the strategy.

The conditions here are an optimisation of `statemachine.plan` and must never hide a row that has to change: a test
compares the plan of these rows with the plan of all open rows. A pass sends two statements, and a third one only when a
preparation may decide something. They are built once, so that both SQLAlchemy and PostgreSQL prepare them once; no
branch reads a table whose columns decide nothing there.
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
    literal_column,
    null,
    or_,
    select,
    union_all,
)

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
_NO_RUN: Final = tuple(null().label(column.name) for column in _RUN_COLUMNS)
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
)
_PREPARATION_COLUMNS: Final = (
    preparations.c.id,
    preparations.c.strategy_id,
    preparations.c.step_id,
    preparations.c.release,
    preparations.c.from_version,
    preparations.c.opened_by_step_id,
    preparations.c.state,
    preparations.c.details,
)
# Whether a subcloud is managed decides about steps that have not started alone.
_NOT_ASKED: Final = null().label("management_state")
_IS_OPEN: Final = steps.c.finished_at.is_(None)
# Literals, for a partial index is used only when its condition is known without parameters.
_IS_INITIAL: Final = steps.c.state == literal_column(f"'{StepState.INITIAL}'")
_HAS_BEGUN: Final = steps.c.state != literal_column(f"'{StepState.INITIAL}'")
_IS_PREPARING: Final = literal_column("steps.preparing", type_=steps.c.preparing.type)
_NO_RUN_YET: Final = steps.c.run_id.is_(None)
_STANDALONE: Final = steps.c.strategy_id.is_(None)
# Parameters that are None match no row.
_MOVING: Final = bindparam("moving_strategy", type_=steps.c.strategy_id.type)
_STARTING_STAGE: Final = bindparam("starting_stage", type_=steps.c.stage.type)
_NOW: Final = bindparam("now", type_=runs.c.lease_until.type)
_LATEST_LEASE: Final = bindparam("latest_lease", type_=runs.c.lease_until.type)


def _strategy_query() -> Select[Any]:
    """Select the active strategy with aggregates of its steps, each of which is the end of an index."""
    of_strategy = steps.c.strategy_id == strategies.c.id
    first_open = select(steps.c.stage).where(of_strategy, _IS_OPEN).order_by(steps.c.stage).limit(1)
    last_failed = (
        select(steps.c.stage)
        .where(of_strategy, steps.c.state == StepState.FAILED)
        .order_by(steps.c.stage.desc())
        .limit(1)
    )
    aborted = exists().where(of_strategy, steps.c.state == StepState.ABORTED)
    # Each branch in the words of a partial index.
    begun = or_(
        exists().where(of_strategy, _IS_OPEN, or_(steps.c.run_id.is_not(None), _IS_PREPARING)).correlate(strategies),
        exists().where(of_strategy, _IS_OPEN, _HAS_BEGUN, _NO_RUN_YET).correlate(strategies),
    )
    moves = strategies.c.state.in_(MOVING_STRATEGIES)
    return select(
        strategies.c.id,
        strategies.c.state,
        strategies.c.stop_on_failure,
        case((moves, first_open.correlate(strategies).scalar_subquery())).label("open_stage"),
        case((moves, last_failed.correlate(strategies).scalar_subquery())).label("failed_stage"),
        case((moves, aborted.correlate(strategies))).label("any_aborted"),
        case((moves, begun)).label("any_begun"),
    ).where(strategy_is_active)


def _ended_run() -> ColumnElement[bool]:
    """Return the condition of runs that a plan has to look at: finished ones, and those whose lease is over."""
    is_over = or_(runs.c.lease_until < _NOW, runs.c.lease_until > _LATEST_LEASE)
    return and_(
        ~runs.c.consumed,
        or_(runs.c.state == RunState.FINISHED, and_(runs.c.state == RunState.RUNNING, is_over)),
    )


def _step_queries() -> Sequence[Select[Any]]:
    """Return the branches of the query of steps; no step is in two of them."""
    waits_for_run = exists().where(
        preparations.c.release == steps.c.release,
        preparations.c.from_version == steps.c.from_version,
        preparations.c.state == PreparationState.RUNNING,
    )
    needs_preparation = and_(_IS_OPEN, _NO_RUN_YET, _HAS_BEGUN, steps.c.state.in_(SHARED_PHASES))
    not_started = (
        select(*_STEP_COLUMNS, subclouds.c.management_state, *_NO_RUN, null().label("preparation_id"))
        .select_from(steps.outerjoin(subclouds, subclouds.c.id == steps.c.subcloud_id))
        .where(_IS_OPEN, _IS_INITIAL, _NO_RUN_YET)
    )
    waiting = select(*_STEP_COLUMNS, _NOT_ASKED, *_NO_RUN, null().label("preparation_id")).where(needs_preparation)
    return (
        # Ended runs of steps, and of preparations, whose step is then null.
        select(*_STEP_COLUMNS, _NOT_ASKED, *_RUN_COLUMNS, runs.c.preparation_id)
        .select_from(runs.outerjoin(steps, and_(steps.c.id == runs.c.step_id, steps.c.run_id == runs.c.id, _IS_OPEN)))
        .where(_ended_run(), or_(steps.c.id.is_not(None), runs.c.preparation_id.is_not(None))),
        not_started.where(_STANDALONE),
        not_started.where(steps.c.strategy_id == _MOVING, steps.c.stage == _STARTING_STAGE),
        waiting.where(_STANDALONE, ~waits_for_run.where(preparations.c.step_id == steps.c.id)),
        waiting.where(steps.c.strategy_id == _MOVING, ~waits_for_run.where(preparations.c.strategy_id == _MOVING)),
    )


def _preparation_queries() -> Sequence[Select[Any]]:
    """Return the branches of the query of preparations: those of the strategy, and those of standalone steps.

    Of the latter only those are read whose step waits: a preparation runs for no other step.
    """
    with_run = select(*_PREPARATION_COLUMNS, *_RUN_COLUMNS)
    of_steps = steps.join(preparations, preparations.c.step_id == steps.c.id)
    return (
        with_run.select_from(preparations.outerjoin(runs, runs.c.id == preparations.c.run_id)).where(
            preparations.c.strategy_id == _MOVING
        ),
        with_run.select_from(of_steps.outerjoin(runs, runs.c.id == preparations.c.run_id)).where(
            _STANDALONE, _IS_OPEN, _NO_RUN_YET, _HAS_BEGUN
        ),
    )


_STRATEGY: Final = _strategy_query()
_STEPS: Final = union_all(*_step_queries())
_PREPARATIONS: Final = union_all(*_preparation_queries())
_ALL_STEPS: Final = (
    select(*_STEP_COLUMNS, subclouds.c.management_state, *_RUN_COLUMNS)
    .select_from(
        steps.outerjoin(subclouds, subclouds.c.id == steps.c.subcloud_id).outerjoin(runs, runs.c.id == steps.c.run_id)
    )
    .where(_IS_OPEN)
    .order_by(steps.c.id)
)
_ALL_PREPARATIONS: Final = (
    select(*_PREPARATION_COLUMNS, *_RUN_COLUMNS)
    .select_from(
        preparations.outerjoin(runs, runs.c.id == preparations.c.run_id)
        .outerjoin(strategies, strategies.c.id == preparations.c.strategy_id)
        .outerjoin(steps, steps.c.id == preparations.c.step_id)
    )
    .where(or_(strategies.c.state.in_(MOVING_STRATEGIES), and_(steps.c.id.is_not(None), _IS_OPEN)))
    .order_by(preparations.c.id)
)


def database_time(connection: Connection) -> float:
    """Return the database's clock in seconds since the epoch."""
    return float(connection.execute(select(database_now())).scalar_one())


def load_snapshot(connection: Connection, now: float, limits: PlanLimits) -> Snapshot:
    """Return the rows that may have to change at `now` (the database's clock, in seconds)."""
    strategy = _load_strategy(connection)
    moves = strategy is not None and strategy.state in MOVING_STRATEGIES
    starts = strategy is not None and strategy.state == StrategyState.APPLYING
    wanted = {
        "moving_strategy": strategy.id if strategy is not None and moves else None,
        "starting_stage": strategy.open_stage if strategy is not None and starts else None,
        "now": now,
        "latest_lease": limits.latest_lease(now),
    }
    rows = connection.execute(_STEPS, wanted).all()
    found = tuple(_step(row) for row in rows if row.id is not None)
    # A preparation decides only when its run has ended or a step waits for one.
    needs_preparations = len(found) < len(rows) or any(
        step.run is None and step.state in SHARED_PHASES for step in found
    )
    return Snapshot(
        strategy=strategy,
        steps=tuple(sorted(found, key=_id)),
        preparations=_load_preparations(connection, wanted) if needs_preparations else (),
    )


def load_all_open(connection: Connection) -> Snapshot:
    """Return every open row; the plan is the same as that of `load_snapshot`."""
    strategy = _load_strategy(connection)
    return Snapshot(
        strategy=strategy,
        steps=tuple(_step(row) for row in connection.execute(_ALL_STEPS)),
        preparations=tuple(_preparation(row) for row in connection.execute(_ALL_PREPARATIONS)),
    )


def _load_strategy(connection: Connection) -> StrategyView | None:
    row = connection.execute(_STRATEGY).one_or_none()
    if row is None:
        return None
    return StrategyView(
        id=row.id,
        state=row.state,
        stop_on_failure=row.stop_on_failure,
        open_stage=row.open_stage,
        failed_stage=row.failed_stage,
        any_aborted=bool(row.any_aborted),
        any_begun=bool(row.any_begun),
    )


def _load_preparations(connection: Connection, wanted: Mapping[str, Any]) -> tuple[PreparationView, ...]:
    rows = connection.execute(_PREPARATIONS, {"moving_strategy": wanted["moving_strategy"]})
    return tuple(sorted((_preparation(row) for row in rows), key=_id))


def _id(view: StepView | PreparationView) -> int:
    return view.id


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
