"""Load the snapshot of a plan: only rows that may have to change, by index, whatever the size of the strategy.

The conditions here are an optimisation of `statemachine.plan` and must never hide a row that has to change: a test
compares the plan of these rows with the plan of all open rows. A pass sends two statements, and a third one only when a
preparation may decide something. They are built once, so that both SQLAlchemy and PostgreSQL prepare them once; no
branch reads a table whose columns decide nothing there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from db.load_strategy import AnyRow, load_strategy
from db.schema import (
    database_now,
    preparations,
    runs,
    step_has_begun,
    step_is_held_alone,
    step_is_initial,
    step_is_open,
    steps,
    strategies,
    subclouds,
)
from db.site_records import site_records
from statemachine.admission import Places, admits, is_stopped_by_budget
from statemachine.failure_classes import class_of_code
from statemachine.problems import Failure
from statemachine.proofs import SiteRecord
from statemachine.rollout import RolloutMode
from statemachine.snapshot import PlanLimits, PreparationView, RunView, Snapshot, StepView, StrategyView
from statemachine.states import (
    MOVING_STRATEGIES,
    PHASES,
    SHARED_PHASES,
    ManagementState,
    PreparationState,
    RunState,
)

_RUN_COLUMNS: Final = (
    runs.c.id.label("run_id"),
    runs.c.phase,
    runs.c.attempt,
    runs.c.state.label("run_state"),
    runs.c.outcome,
    runs.c.details.label("run_details"),
    runs.c.lease_until,
    runs.c.cancel_requested,
    runs.c.failure_class,
    runs.c.failure_task,
    runs.c.failure_text,
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
    steps.c.preparing,
    steps.c.position,
    # Not that of its run.
    steps.c.attempt.label("step_attempt"),
    steps.c.cancel_requested_at,
    steps.c.cancel_requested_by,
    steps.c.resumes,
    steps.c.subcloud_id,
    steps.c.for_sw_deploy,
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
    preparations.c.content,
)
_WHOLE_PREPARATION: Final = select(*_PREPARATION_COLUMNS, *_RUN_COLUMNS)
_PREPARATION_RUNS: Final = preparations.outerjoin(runs, runs.c.id == preparations.c.run_id)
# Whether a subcloud is managed decides about steps that have not started alone.
_NOT_ASKED: Final = null().label("management_state")
# No join: where statistics say that the table is empty, a join reads all of it for each step.
_MANAGEMENT_STATE: Final = (
    select(subclouds.c.management_state)
    .where(subclouds.c.id == steps.c.subcloud_id)
    .scalar_subquery()
    .label("management_state")
)
# Literals, for a partial index is used only when its condition is known without parameters.
_NO_RUN_YET: Final = steps.c.run_id.is_(None)
_STANDALONE: Final = steps.c.strategy_id.is_(None)
_IS_FIRST: Final[ColumnElement[bool]] = literal_column("steps.position < 0")
_IS_MARKED: Final[ColumnElement[bool]] = literal_column("steps.cancel_requested_at IS NOT NULL")
# Parameters that are None match no row.
_MOVING: Final = bindparam("moving_strategy", type_=steps.c.strategy_id.type)
# With a free place.
_WINDOW: Final = bindparam("window_strategy", type_=steps.c.strategy_id.type)
_HELD: Final = bindparam("held_strategy", type_=steps.c.strategy_id.type)
_STARTING_STAGE: Final = bindparam("starting_stage", type_=steps.c.stage.type)
# By name, for SQLite reads its index of these steps for equal states alone, and all steps without it.
_PARKING_PHASES: Final = tuple(phase for phase in PHASES if phase not in SHARED_PHASES)
# More steps than any stage may have at once.
_MOST_AT_ONCE: Final = 100_000
_NOW: Final = bindparam("now", type_=runs.c.lease_until.type)
_LATEST_LEASE: Final = bindparam("latest_lease", type_=runs.c.lease_until.type)


def _ended_run() -> ColumnElement[bool]:
    """Return the condition of runs that a plan has to look at: finished ones, and those whose lease is over."""
    is_over = or_(runs.c.lease_until < _NOW, runs.c.lease_until > _LATEST_LEASE)
    return and_(
        ~runs.c.consumed,
        or_(runs.c.state == RunState.FINISHED, and_(runs.c.state == RunState.RUNNING, is_over)),
    )


def _not_started() -> Select[Any]:
    """Select the steps that have not started and have no run."""
    return select(*_STEP_COLUMNS, _MANAGEMENT_STATE, *_NO_RUN, null().label("preparation_id")).where(
        step_is_open, step_is_initial, _NO_RUN_YET
    )


def _step_queries() -> Sequence[Select[Any]]:
    """Return the branches of the query of steps; those about holds and cancels may repeat a step of another one."""
    waits_for_run = exists().where(
        preparations.c.release == steps.c.release,
        preparations.c.from_version == steps.c.from_version,
        preparations.c.state == PreparationState.RUNNING,
    )
    needs_preparation = and_(step_is_open, _NO_RUN_YET, step_has_begun, steps.c.state.in_(SHARED_PHASES))
    not_started = _not_started()
    without_run = select(*_STEP_COLUMNS, _NOT_ASKED, *_NO_RUN, null().label("preparation_id"))
    waiting = without_run.where(needs_preparation)
    parked = without_run.where(step_is_open, _NO_RUN_YET, step_has_begun, steps.c.state.in_(_PARKING_PHASES))
    with_run = select(*_STEP_COLUMNS, _NOT_ASKED, *_RUN_COLUMNS, runs.c.preparation_id)
    of_step = with_run.select_from(steps.outerjoin(runs, runs.c.id == steps.c.run_id))
    # Without a run, or with one that no worker has claimed.
    marked = of_step.where(step_is_open, _IS_MARKED, or_(_NO_RUN_YET, runs.c.state == RunState.QUEUED))
    # Such that the state is looked at after the join: where statistics say that there are no queued runs, all runs are
    # read for each step.
    queued = of_step.where(step_is_open, func.coalesce(runs.c.state, "") == RunState.QUEUED)
    return (
        # Ended runs of steps, and of preparations, whose step is then null. That the step is open is no condition of
        # the join: where statistics say that none is in flight, the partial index of those is read whole for each run.
        with_run.select_from(
            runs.outerjoin(steps, and_(steps.c.id == runs.c.step_id, steps.c.run_id == runs.c.id))
        ).where(_ended_run(), or_(and_(steps.c.id.is_not(None), step_is_open), runs.c.preparation_id.is_not(None))),
        not_started.where(_STANDALONE),
        not_started.where(steps.c.strategy_id == _MOVING, steps.c.stage == _STARTING_STAGE),
        # Of a sliding window: those that were put first come before all others of any stage.
        not_started.where(steps.c.strategy_id == _WINDOW, _IS_FIRST, ~step_is_held_alone),
        parked.where(_STANDALONE),
        parked.where(steps.c.strategy_id == _MOVING),
        # Runs that a worker handed back under a hold.
        queued.where(steps.c.strategy_id == _HELD),
        marked.where(_STANDALONE),
        marked.where(steps.c.strategy_id == _MOVING),
        waiting.where(_STANDALONE, ~waits_for_run.where(preparations.c.step_id == steps.c.id)),
        waiting.where(steps.c.strategy_id == _MOVING, ~waits_for_run.where(preparations.c.strategy_id == _MOVING)),
    )


def _preparation_queries() -> Sequence[Select[Any]]:
    """Return the branches of the query of preparations: those of the strategy, and those of standalone steps.

    Of the latter only those are read whose step waits: a preparation runs for no other step. Those whose run has ended
    are read without a waiting step too, so that one may be in two branches.
    """
    of_steps = steps.join(preparations, preparations.c.step_id == steps.c.id)
    return (
        _WHOLE_PREPARATION.select_from(_PREPARATION_RUNS).where(preparations.c.strategy_id == _MOVING),
        _WHOLE_PREPARATION.select_from(of_steps.outerjoin(runs, runs.c.id == preparations.c.run_id)).where(
            _STANDALONE, step_is_open, _NO_RUN_YET, step_has_begun
        ),
        _WHOLE_PREPARATION.select_from(runs.join(preparations, preparations.c.run_id == runs.c.id)).where(_ended_run()),
    )


_STEPS: Final = union_all(*_step_queries())
_PREPARATIONS: Final = union_all(*_preparation_queries())
# Of a sliding window: the next stage with a step to start, and such steps of a stage.
# No minimum: PostgreSQL reads all that have not started for it.
_NEXT_STAGE: Final = (
    select(steps.c.stage)
    .where(
        step_is_open,
        step_is_initial,
        _NO_RUN_YET,
        steps.c.strategy_id == _MOVING,
        steps.c.stage > bindparam("after_stage"),
    )
    .order_by(steps.c.stage)
    .limit(1)
)
_CANDIDATES: Final = (
    _not_started()
    .where(steps.c.strategy_id == _MOVING, steps.c.stage == _STARTING_STAGE, steps.c.position >= 0, ~step_is_held_alone)
    .order_by(steps.c.position, steps.c.id)
    .limit(bindparam("most"))
)
_WHOLE_STEP: Final = select(*_STEP_COLUMNS, subclouds.c.management_state, *_RUN_COLUMNS).select_from(
    steps.outerjoin(subclouds, subclouds.c.id == steps.c.subcloud_id).outerjoin(runs, runs.c.id == steps.c.run_id)
)
_ALL_STEPS: Final = _WHOLE_STEP.where(step_is_open).order_by(steps.c.id)
_ONE_STEP: Final = _WHOLE_STEP.where(steps.c.id == bindparam("wanted_step"))
_ONE_PREPARATION: Final = (
    _WHOLE_PREPARATION.select_from(_PREPARATION_RUNS)
    .where(
        or_(
            preparations.c.strategy_id == bindparam("owning_strategy", type_=preparations.c.strategy_id.type),
            preparations.c.step_id == bindparam("owning_step", type_=preparations.c.step_id.type),
        ),
        preparations.c.release == bindparam("wanted_release"),
        preparations.c.from_version == bindparam("wanted_version", type_=preparations.c.from_version.type),
    )
    .order_by(preparations.c.id.desc())
    .limit(1)
)
_ALL_PREPARATIONS: Final = (
    _WHOLE_PREPARATION.select_from(
        _PREPARATION_RUNS.outerjoin(strategies, strategies.c.id == preparations.c.strategy_id).outerjoin(
            steps, steps.c.id == preparations.c.step_id
        )
    )
    .where(
        or_(
            strategies.c.state.in_(MOVING_STRATEGIES),
            and_(steps.c.id.is_not(None), step_is_open),
            preparations.c.state == PreparationState.RUNNING,
        )
    )
    .order_by(preparations.c.id)
)


def database_time(connection: Connection) -> float:
    """Return the database's clock in seconds since the epoch."""
    return float(connection.execute(select(database_now())).scalar_one())


def load_snapshot(connection: Connection, now: float, limits: PlanLimits) -> Snapshot:
    """Return the rows that may have to change at `now` (the database's clock, in seconds)."""
    strategy, open_holds = load_strategy(connection)
    moves = strategy is not None and strategy.state in MOVING_STRATEGIES
    starts = strategy is not None and admits(strategy) and not Places(strategy).is_full
    in_window = starts and strategy is not None and strategy.mode == RolloutMode.WINDOW
    withdraws = strategy is not None and (open_holds or is_stopped_by_budget(strategy))
    wanted = {
        "moving_strategy": strategy.id if strategy is not None and moves else None,
        "held_strategy": strategy.id if strategy is not None and withdraws else None,
        "starting_stage": strategy.open_stage if strategy is not None and starts and not in_window else None,
        "window_strategy": strategy.id if strategy is not None and in_window else None,
        "now": now,
        "latest_lease": limits.latest_lease(now),
    }
    rows = list(connection.execute(_STEPS, wanted))
    if strategy is not None and in_window:
        rows += _window_candidates(connection, strategy)
    # Branches may repeat a row.
    found: dict[int | None, StepView] = {view.id: view for view in _steps(connection, rows)}
    # A preparation decides only when its run has ended, which has no step, or when a step waits for one.
    needs_preparations = found.pop(None, None) is not None or any(
        step.run is None and step.state in SHARED_PHASES for step in found.values()
    )
    return Snapshot(
        strategy=strategy,
        steps=tuple(sorted(found.values(), key=_id)),
        preparations=_load_preparations(connection, wanted) if needs_preparations else (),
        holds=open_holds,
    )


def _window_candidates(connection: Connection, strategy: StrategyView) -> Iterator[AnyRow]:
    """Yield the steps of a sliding window that may start, stage by stage, until one of them finds no place.

    Those that were put first are not among them, and those that are held by themselves are passed over. Of a window
    that goes stage by stage only the open stage has such steps.
    """
    places = Places(strategy)
    after = 0
    while True:
        stage = connection.execute(_NEXT_STAGE, {"moving_strategy": strategy.id, "after_stage": after}).scalar()
        if stage is None or (strategy.stage_by_stage and stage != strategy.open_stage):
            return
        free = int(min(places.free(stage), _MOST_AT_ONCE))
        rows = connection.execute(
            _CANDIDATES, {"moving_strategy": strategy.id, "starting_stage": stage, "most": free + 1}
        ).all()
        yield from rows
        if len(rows) > free:
            return
        for _row in rows:
            places.take(stage)
        after = stage


def load_step(connection: Connection, step_id: int) -> tuple[StepView, PreparationView | None] | None:
    """Return a step of any state with the preparation that it waits for or had; None: there is no such step."""
    row = connection.execute(_ONE_STEP, {"wanted_step": step_id}).one_or_none()
    if row is None:
        return None
    (step,) = _steps(connection, [row])
    strategy_id, own_id = step.owner
    owner = {"owning_strategy": strategy_id, "owning_step": own_id}
    found = connection.execute(
        _ONE_PREPARATION, {**owner, "wanted_release": step.release, "wanted_version": step.from_version}
    ).first()
    return step, None if found is None else _preparation(found)


def load_all_open(connection: Connection) -> Snapshot:
    """Return every open row; the plan is the same as that of `load_snapshot`."""
    strategy, open_holds = load_strategy(connection)
    return Snapshot(
        strategy=strategy,
        steps=tuple(_steps(connection, connection.execute(_ALL_STEPS))),
        preparations=tuple(_preparation(row) for row in connection.execute(_ALL_PREPARATIONS)),
        holds=open_holds,
    )


def _load_preparations(connection: Connection, wanted: Mapping[str, Any]) -> tuple[PreparationView, ...]:
    asked = {name: wanted[name] for name in ("moving_strategy", "now", "latest_lease")}
    found = {row.id: _preparation(row) for row in connection.execute(_PREPARATIONS, asked)}
    return tuple(sorted(found.values(), key=_id))


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
        cancel_requested=bool(row.cancel_requested),
        failure=_failure(row),
    )


def _failure(row: AnyRow) -> Failure | None:
    kind = class_of_code(row.failure_class)
    return None if kind is None else Failure(failure_class=kind, task=row.failure_task, text=row.failure_text)


def _steps(connection: Connection, rows: Iterable[AnyRow]) -> Iterator[StepView]:
    """Yield the views of steps; those that wait for a preparation and resume have the records of their sites."""
    found = list(rows)
    asking = [row for row in found if row.resumes and row.run_id is None and row.state in SHARED_PHASES]
    of_sites = {}
    if asking:
        of_sites = site_records(connection, {row.subcloud_id: bool(row.for_sw_deploy) for row in asking})
    records = {row.id: of_sites[row.subcloud_id] for row in asking if row.subcloud_id in of_sites}
    return (_step(row, records) for row in found)


def _step(row: AnyRow, records: Mapping[int, SiteRecord]) -> StepView:
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
        preparing=bool(row.preparing),
        position=row.position,
        attempt=row.step_attempt,
        cancel_requested=row.cancel_requested_at is not None,
        cancel_requested_by=row.cancel_requested_by,
        resumes=bool(row.resumes),
        record=records.get(row.id),
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
        content=row.content,
        run=_run(row),
    )
