"""Claims of workers: queued runs are taken in sets under a lease, each with all that its worker needs.

A claim is one transaction of three or four statements, whatever the number of its runs. Rows that another transaction
holds are passed over: no claim waits for another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Row, Select, Update, and_, bindparam, case, func, select, update

from db.apply_step_moves import StepWriter
from db.inventory import WORK
from db.json_table import given_rows
from db.runs import NEW_LEASE, RunAssignment
from db.schema import controller, database_now, is_among, preparations, runs, secrets, steps, strategies, subclouds
from db.unit_of_work import RunIds, UnitOfWork
from statemachine.plan import start_of
from statemachine.states import PHASES, TERMINAL_STEPS, RunState, StepState

# Statements of the path of a run are built once: building them anew costs more than sending them.
_BY_OWNER: Final = bindparam("by_owner", type_=runs.c.owner.type)
_AT: Final = bindparam("at_moment", type_=runs.c.started_at.type)
_QUEUED: Final = and_(~runs.c.consumed, runs.c.state == RunState.QUEUED)
_OLDEST: Final = (
    select(runs.c.id)
    .where(_QUEUED, runs.c.phase.in_(bindparam("of_phases", expanding=True)))
    .order_by(runs.c.id)
    .limit(bindparam("most", type_=BigInteger))
)


def _take(chosen: Select[Any]) -> Update:
    # The choice is a table of its own, so that it is made, and its rows are locked, once.
    locked = chosen.with_for_update(skip_locked=True).cte("chosen")
    return (
        update(runs)
        .where(runs.c.id.in_(select(locked.c.id)))
        .values(state=RunState.RUNNING, owner=_BY_OWNER, lease_until=NEW_LEASE, started_at=_AT)
        .returning(
            runs.c.id,
            runs.c.phase,
            runs.c.step_id,
            runs.c.attempt,
            runs.c.trace,
            runs.c.cancel_requested,
            (database_now() - runs.c.dispatched_at).label("waited"),
        )
    )


_TAKE_WANTED: Final = _take(select(runs.c.id).where(is_among(runs.c.id, "wanted_runs"), _QUEUED).order_by(runs.c.id))
_TAKE_OLDEST: Final = _take(_OLDEST)
_TAKE_AGAIN: Final = _take(
    select(runs.c.id)
    .where(~runs.c.consumed, runs.c.state == RunState.RUNNING, runs.c.owner == _BY_OWNER, runs.c.started_at == _AT)
    .order_by(runs.c.id)
)


# Not as ids: of an array PostgreSQL expects so many rows that it may read all steps.
_CLAIMED: Final = given_rows("claimed", run_id=BigInteger)


def _assignments() -> Select[Any]:
    """Return the query of what the workers of the wanted runs need, the columns of the subcloud last."""
    own = steps.alias("own")
    of_strategy, of_step = secrets.alias("of_strategy"), secrets.alias("of_step")
    busy_with = (
        select(WORK)
        .where(
            steps.c.subcloud_id == own.c.subcloud_id,
            steps.c.id != own.c.id,
            # Not by the end of the step: an index of all open ones would look as good as that of the subcloud.
            steps.c.state.not_in([StepState.INITIAL, *TERMINAL_STEPS]),
        )
        .limit(1)
        .correlate(own)
        .scalar_subquery()
    )
    is_precheck = runs.c.phase.in_([phase.state for phase in PHASES.values() if not phase.needs_slot])
    return select(
        runs.c.id.label("run_id"),
        own.c.id,
        own.c.strategy_id,
        own.c.type,
        own.c.release,
        own.c.force,
        own.c.for_sw_deploy,
        own.c.oam_address,
        own.c.worked_s,
        own.c.passed_content,
        func.coalesce(preparations.c.from_version, own.c.from_version).label("found_version"),
        strategies.c.rollout,
        func.coalesce(of_strategy.c.sealed, of_step.c.sealed).label("sealed"),
        func.coalesce(of_strategy.c.bound_to, of_step.c.bound_to, "").label("bound_to"),
        case((is_precheck, busy_with)).label("busy_with"),
        select(controller.c.upgrading).limit(1).scalar_subquery().label("upgrading"),
        *(column.label(f"subcloud_{column.name}") for column in subclouds.c),
    ).select_from(
        _CLAIMED.join(runs, runs.c.id == _CLAIMED.c.run_id)
        .outerjoin(preparations, preparations.c.id == runs.c.preparation_id)
        .join(own, own.c.id == func.coalesce(runs.c.step_id, preparations.c.opened_by_step_id))
        .join(subclouds, subclouds.c.id == own.c.subcloud_id)
        .outerjoin(strategies, strategies.c.id == own.c.strategy_id)
        .outerjoin(of_strategy, of_strategy.c.strategy_id == own.c.strategy_id)
        .outerjoin(of_step, and_(of_step.c.step_id == own.c.id, own.c.strategy_id.is_(None)))
    )


_ASSIGNMENTS: Final = _assignments()
_SUBCLOUD_COLUMNS: Final = tuple(column.name for column in subclouds.c)


def claim_runs(work: UnitOfWork, run_ids: Iterable[int], owner: str) -> list[RunAssignment]:
    """Claim those of the runs that are queued, under a lease, and start their steps; return them in the order of ids.

    A repeat changes nothing and returns none.

    Raises:
        LookupError: A run has no step or no subcloud.
    """
    return _assigned(work, _TAKE_WANTED, {"wanted_runs": list(run_ids)}, owner)


def claim_oldest(work: UnitOfWork, phases: Collection[str], most: int, owner: str) -> list[RunAssignment]:
    """Claim the oldest queued runs of `phases`, at most `most`; see `claim_runs`.

    Raises:
        LookupError: A run has no step or no subcloud.
    """
    return _assigned(work, _TAKE_OLDEST, {"of_phases": sorted(phases), "most": most}, owner)


def claim_again(work: UnitOfWork, owner: str) -> list[RunAssignment]:
    """Return the runs that `owner` has claimed at the moment of `work`, under a new lease.

    Those are the runs of a claim whose commit arrived and whose answer did not.

    Raises:
        LookupError: A run has no step or no subcloud.
    """
    return _assigned(work, _TAKE_AGAIN, {}, owner)


def claim_unread(work: UnitOfWork, run_id: int, owner: str) -> bool:
    """Claim a queued run whose assignment cannot be read, to report that; False: it is not queued any more."""
    return bool(_taken(work, _TAKE_WANTED, {"wanted_runs": [run_id]}, owner))


def queued_runs(connection: Connection, phases: Collection[str], limit: int) -> list[int]:
    """Return the ids of the oldest queued runs of `phases`, at most `limit`."""
    return list(connection.execute(_OLDEST, {"of_phases": sorted(phases), "most": limit}).scalars())


def _taken(work: UnitOfWork, take: Update, choice: Mapping[str, Any], owner: str) -> Sequence[Row[Any]]:
    taken = work.connection.execute(take, {**choice, "by_owner": owner, "at_moment": work.at}).all()
    for phase in sorted({row.phase for row in taken}):
        change = start_of(phase)
        of_phase = [row for row in taken if row.phase == phase and row.step_id is not None]
        if change is not None and of_phase:
            ids = {
                row.step_id: RunIds(id=row.id, phase=phase, attempt=row.attempt, trace=row.trace) for row in of_phase
            }
            StepWriter(work).start(ids, change)
    return taken


def _assigned(work: UnitOfWork, take: Update, choice: Mapping[str, Any], owner: str) -> list[RunAssignment]:
    taken = _taken(work, take, choice, owner)
    if not taken:
        return []
    claimed = {"claimed": [{"run_id": row.id} for row in taken]}
    rows = {row.run_id: row for row in work.connection.execute(_ASSIGNMENTS, claimed)}
    return [_assignment(one, rows[one.id]) for one in sorted(taken, key=lambda row: row.id)]


def _assignment(taken: Row[Any], row: Row[Any]) -> RunAssignment:
    subcloud = dict(zip(_SUBCLOUD_COLUMNS, row[-len(_SUBCLOUD_COLUMNS) :], strict=True))
    return RunAssignment(
        run_id=taken.id,
        phase=StepState(taken.phase),
        step_id=taken.step_id,
        attempt=taken.attempt,
        trace=taken.trace,
        waited_s=float(taken.waited),
        is_cancelled=taken.cancel_requested,
        for_step_id=row.id,
        strategy_id=row.strategy_id,
        type=row.type,
        release=row.release,
        force=row.force,
        for_sw_deploy=row.for_sw_deploy,
        from_version=row.found_version or subcloud["software_version"],
        oam_address=row.oam_address,
        subcloud=subcloud,
        busy_with=row.busy_with,
        sealed=row.sealed,
        bound_to=row.bound_to,
        timeouts=(row.rollout or {}).get("timeouts") or {},
        worked_s=row.worked_s,
        passed_content=None if taken.step_id is None else row.passed_content,
        controller_upgrading=bool(row.upgrading),
    )
