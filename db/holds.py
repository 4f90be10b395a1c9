"""Holds and cancels in the database.

A hold keeps steps from beginning a phase, and withdraws their queued runs. A cancel marks steps and their runs, which
workers and the plan act on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from db.runs import lock_runs_of
from db.schema import database_now, holds, preparations, runs, step_is_in_flight, step_is_open, steps, strategies
from db.unit_of_work import UnitOfWork
from messages.event_types import CANCEL_REQUESTED, HOLD_ENDED, HOLD_OPENED, CancelRequested, HoldEnded, HoldOpened
from messages.queues import CANCEL_RUNS
from statemachine.rollout import HoldKind, HoldScope, RolloutMode
from statemachine.states import SHARED_PHASES, PreparationState, RunOutcome, RunState, StepState

_IS_OPEN: Final = holds.c.ended_at.is_(None)
# In the words of a partial index, then those of the rows of it that have a run.
_HAS_RUN: Final = and_(
    step_is_open,
    step_is_in_flight,
    steps.c.run_id.is_not(None),
)
_OTHER: Final = steps.alias("other")
_IS_MARKED: Final = steps.c.cancel_requested_at.is_not(None)
_OF_SITE: Final = holds.c.step_id.is_not(None)
_SHOWN: Final = (*holds.c, steps.c.subcloud_name)
_WITH_SITE: Final = holds.outerjoin(steps, steps.c.id == holds.c.step_id)


def _open_rows(which: ColumnElement[bool]) -> Select[Any]:
    return select(*_SHOWN).select_from(_WITH_SITE).where(_IS_OPEN, which).order_by(holds.c.id)


# What answers read is built once: building it anew costs more than to send it.
_OF_STRATEGIES: Final = _open_rows(
    and_(holds.c.strategy_id.in_(bindparam("of_strategies", expanding=True)), holds.c.step_id.is_(None))
)
_OF_SITES: Final = _open_rows(
    and_(holds.c.strategy_id == bindparam("of_strategy", type_=holds.c.strategy_id.type), _OF_SITE)
)
_OF_STEP: Final = _open_rows(holds.c.step_id == bindparam("of_step", type_=holds.c.step_id.type))


@dataclass(frozen=True, kw_only=True)
class NewHold:
    """A hold to open; its cover is that of `HoldView`."""

    strategy_id: int
    kind: HoldKind
    scope: HoldScope
    step_id: int | None = None
    preparation_id: int | None = None
    stage: int | None = None
    # A sentence for people.
    reason: str = ""
    # When it ends by itself, by the database's clock; None: it does not.
    until: datetime | None = None
    # The caller; empty for the plan.
    by: str = ""

    @property
    def twins(self) -> ColumnElement[bool]:
        """The condition of open holds of the same kind and cover; there is one at most."""
        return and_(
            _IS_OPEN,
            holds.c.strategy_id == self.strategy_id,
            holds.c.kind == self.kind,
            holds.c.step_id.is_not_distinct_from(self.step_id),
            holds.c.preparation_id.is_not_distinct_from(self.preparation_id),
            holds.c.stage.is_not_distinct_from(self.stage),
        )

    @property
    def covered(self) -> ColumnElement[bool]:
        """The condition of the steps that it keeps from beginning a phase."""
        cover: list[ColumnElement[bool]] = [steps.c.strategy_id == self.strategy_id]
        if self.scope == HoldScope.STARTS:
            cover.append(steps.c.state == StepState.INITIAL)
        if self.step_id is not None:
            cover.append(steps.c.id == self.step_id)
        if self.stage is not None:
            cover.append(steps.c.stage > self.stage)
        if self.preparation_id is not None:
            cover.append(
                exists().where(
                    preparations.c.id == self.preparation_id,
                    preparations.c.release == steps.c.release,
                    preparations.c.from_version == steps.c.from_version,
                )
            )
        return and_(*cover)


def hold_clock(connection: Connection) -> datetime:
    """Return the database's time, by which holds begin and end."""
    return datetime.fromtimestamp(float(connection.execute(select(database_now())).scalar_one()), UTC)


def open_hold(work: UnitOfWork, hold: NewHold) -> bool:
    """Open a hold and withdraw the queued runs of the steps that it covers; False where nothing changed.

    An open hold of the same kind and cover stays the only one, and takes the scope of the new one where that is wider.
    """
    twin = work.connection.execute(select(holds.c.id, holds.c.scope).where(hold.twins)).one_or_none()
    if twin is not None and twin.scope in (hold.scope, HoldScope.PHASES):
        return False
    if twin is None:
        hold_id = work.connection.execute(
            insert(holds)
            .values(
                strategy_id=hold.strategy_id,
                step_id=hold.step_id,
                preparation_id=hold.preparation_id,
                kind=hold.kind,
                stage=hold.stage,
                scope=hold.scope,
                reason=hold.reason,
                since=hold_clock(work.connection),
                by=hold.by,
                until=hold.until,
            )
            .returning(holds.c.id)
        ).scalar_one()
    else:
        hold_id = twin.id
        changes: dict[str, Any] = {"scope": hold.scope, "by": hold.by}
        if hold.reason:
            changes["reason"] = hold.reason
        work.connection.execute(update(holds).where(holds.c.id == hold_id).values(changes))
    for row in _rows(work.connection, holds.c.id == hold_id):
        work.emit(HOLD_OPENED, _subject(row), _event_data(row))
    withdraw_runs(work, hold.covered)
    return True


def end_holds(work: UnitOfWork, which: ColumnElement[bool], by: str) -> int:
    """End the open holds of a condition and return how many they were; `by` is the caller, empty for the plan."""
    rows = _rows(work.connection, which)
    if rows:
        work.connection.execute(
            update(holds).where(_IS_OPEN, which).values(ended_at=hold_clock(work.connection), ended_by=by)
        )
    for row in rows:
        work.emit(HOLD_ENDED, _subject(row), HoldEnded(**_event_data(row), ended_by=by))
    return len(rows)


def withdraw_runs(work: UnitOfWork, of_steps: ColumnElement[bool]) -> None:
    """Withdraw the runs of steps that no worker has claimed; exactly those steps lose their run."""
    queued = select(steps.c.run_id).where(_HAS_RUN, of_steps)
    withdrawn = work.connection.execute(
        update(runs)
        .where(runs.c.id.in_(queued), runs.c.state == RunState.QUEUED, ~runs.c.consumed)
        .values(state=RunState.FINISHED, outcome=RunOutcome.WITHDRAWN, consumed=True, finished_at=work.at)
        .returning(runs.c.id)
    )
    work.completed += withdrawn.scalars()
    was_withdrawn = exists().where(runs.c.id == steps.c.run_id, runs.c.outcome == RunOutcome.WITHDRAWN)
    work.connection.execute(
        update(steps)
        .where(_HAS_RUN, of_steps, was_withdrawn)
        .values(run_id=None, preparing=False, updated_at=work.at, version=steps.c.version + 1)
    )


def open_holds(connection: Connection, strategy_ids: Collection[int]) -> list[RowMapping]:
    """Return the open holds of strategies that do not hold a single site, the oldest first."""
    return list(connection.execute(_OF_STRATEGIES, {"of_strategies": list(strategy_ids)}).mappings())


def site_holds(connection: Connection, strategy_id: int) -> dict[int, RowMapping]:
    """Return the open holds of single sites of a strategy, by the ids of their steps."""
    return {row["step_id"]: row for row in connection.execute(_OF_SITES, {"of_strategy": strategy_id}).mappings()}


def site_hold(connection: Connection, step_id: int) -> RowMapping | None:
    """Return the open hold of the site of a step alone."""
    return connection.execute(_OF_STEP, {"of_step": step_id}).mappings().first()


def _rows(connection: Connection, which: ColumnElement[bool]) -> list[RowMapping]:
    return list(connection.execute(_open_rows(which)).mappings())


def can_move(strategy: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition of the open steps of a strategy that no hold keeps from moving.

    That are those in flight, and those that may start or go on. In mode `stages`, and in a window that goes stage by
    stage, steps of later stages wait for the open one, whatever holds it. Places in a window do not count: while one is
    taken, a step is in flight.

    Args:
        strategy: Column or value of its id; its row is in the query.
    """
    open_stage = (
        select(func.min(_OTHER.c.stage))
        .where(_OTHER.c.strategy_id == strategy, _OTHER.c.finished_at.is_(None))
        .scalar_subquery()
    )
    is_in_flight = or_(steps.c.run_id.is_not(None), steps.c.preparing)
    may_begin = or_(
        and_(strategies.c.mode == RolloutMode.WINDOW, ~strategies.c.stage_by_stage),
        steps.c.state != StepState.INITIAL,
        steps.c.stage == open_stage,
    )
    return and_(steps.c.strategy_id == strategy, step_is_open, or_(is_in_flight, and_(may_begin, ~is_held())))


def is_held() -> ColumnElement[bool]:
    """Return the condition of the steps that an open hold keeps from beginning a phase, as `NewHold.covered` has it."""
    of_preparation = exists().where(
        preparations.c.id == holds.c.preparation_id,
        preparations.c.release == steps.c.release,
        preparations.c.from_version == steps.c.from_version,
    )
    return exists().where(
        _IS_OPEN,
        holds.c.strategy_id == steps.c.strategy_id,
        or_(holds.c.scope == HoldScope.PHASES, steps.c.state == StepState.INITIAL),
        or_(holds.c.step_id.is_(None), holds.c.step_id == steps.c.id),
        or_(holds.c.stage.is_(None), holds.c.stage < steps.c.stage),
        or_(holds.c.preparation_id.is_(None), of_preparation),
    )


def _event_data(row: RowMapping) -> HoldOpened:
    data: HoldOpened = {
        "hold": row["id"],
        "kind": HoldKind(row["kind"]),
        "scope": HoldScope(row["scope"]),
        "reason": row["reason"],
        "by": row["by"],
    }
    if row["stage"] is not None:
        data["stage"] = row["stage"]
    if row["until"] is not None:
        data["until"] = row["until"].isoformat()
    if row["subcloud_name"] is not None:
        data["subcloud"] = row["subcloud_name"]
    return data


def _subject(row: RowMapping) -> str:
    return f"strategy/{row['strategy_id']}"


def cancel_strategy(work: UnitOfWork, strategy_id: int, *, by: str, grace_s: float | None = None) -> None:
    """Mark a strategy and its steps that have started to be cancelled, as `request_cancel` does.

    A strategy that is marked already keeps its mark and, where no other one is given, its grace.
    """
    of_strategy = strategies.c.id == strategy_id
    row = work.connection.execute(
        select(strategies.c.cancel_requested_at, strategies.c.cancel_grace_s).where(of_strategy)
    ).one()
    grace_s = row.cancel_grace_s if grace_s is None else grace_s
    if row.cancel_requested_at is None:
        work.connection.execute(
            update(strategies)
            .where(of_strategy)
            .values(cancel_requested_at=hold_clock(work.connection), cancel_requested_by=by, cancel_grace_s=grace_s)
        )
    begun = and_(steps.c.strategy_id == strategy_id, steps.c.state != StepState.INITIAL)
    request_cancel(work, begun, by=by, grace_s=grace_s)
    tell_cancel(work, f"strategy/{strategy_id}", by=by, grace_s=grace_s)


def tell_cancel(
    work: UnitOfWork, subject: str, *, by: str, grace_s: float | None = None, subcloud: str | None = None
) -> None:
    """Emit the event about a request to cancel a strategy, or with `subcloud` a single site."""
    data = CancelRequested(by=by)
    if grace_s is not None:
        data["grace_s"] = grace_s
    if subcloud is not None:
        data["subcloud"] = subcloud
    work.emit(CANCEL_REQUESTED, subject, data)


def request_cancel(work: UnitOfWork, which: ColumnElement[bool], *, by: str, grace_s: float | None = None) -> None:
    """Mark the open steps of a condition to be cancelled, withdraw their queued runs and have the running ones stopped.

    Ended runs that no plan has seen are marked too: what was lost is not tried again.

    Args:
        work: The transaction.

        which: Condition of the steps. One that is marked already keeps its mark; its run gets the new grace.

        by: The caller, or the reason in place of one.

        grace_s: Seconds from the request to end to the end by force; None: the worker's default.
    """
    lock_runs_of(work.connection, and_(step_is_open, which))
    work.connection.execute(
        update(steps)
        .where(step_is_open, ~_IS_MARKED, which)
        .values(cancel_requested_at=hold_clock(work.connection), cancel_requested_by=by)
    )
    withdraw_runs(work, and_(_IS_MARKED, which))
    marked = select(steps.c.id).where(step_is_open, _IS_MARKED, which)
    work.connection.execute(
        update(runs)
        .where(
            ~runs.c.consumed,
            or_(runs.c.step_id.in_(marked), runs.c.preparation_id.in_(_unwanted_preparations(which))),
        )
        .values(cancel_requested=True, cancel_grace_s=grace_s)
    )
    work.enqueue(CANCEL_RUNS)


def _unwanted_preparations(which: ColumnElement[bool]) -> Select[Any]:
    """Select the preparations that go on and for which no step waits any more but those that are marked."""
    waiting = steps.alias("waiting")
    is_needed = exists().where(
        waiting.c.finished_at.is_(None),
        waiting.c.cancel_requested_at.is_(None),
        waiting.c.state.in_(SHARED_PHASES),
        waiting.c.strategy_id == preparations.c.strategy_id,
        waiting.c.release == preparations.c.release,
        waiting.c.from_version == preparations.c.from_version,
    )
    is_owner = or_(steps.c.strategy_id == preparations.c.strategy_id, steps.c.id == preparations.c.step_id)
    return select(preparations.c.id).where(
        preparations.c.state == PreparationState.RUNNING,
        ~is_needed,
        exists().where(is_owner, step_is_open, _IS_MARKED, which),
    )
