"""Holds of the strategy in the database: open, widen and end them, and withdraw the queued runs that they cover."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, insert, literal_column, select, update

from db.schema import database_now, holds, preparations, runs, steps
from db.unit_of_work import UnitOfWork
from messages.event_types import HOLD_ENDED, HOLD_OPENED, HoldEnded
from messages.events import hold_event_data
from statemachine.rollout import HoldKind, HoldScope
from statemachine.states import RunOutcome, RunState, StepState

_IS_OPEN: Final = holds.c.ended_at.is_(None)
# In the words of a partial index, then those of the rows of it that have a run.
_HAS_RUN: Final = and_(
    steps.c.finished_at.is_(None),
    literal_column("(steps.run_id IS NOT NULL OR steps.preparing)"),
    steps.c.run_id.is_not(None),
)
_SHOWN: Final = (*holds.c, steps.c.subcloud_name)
_WITH_SITE: Final = holds.outerjoin(steps, steps.c.id == holds.c.step_id)


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
        work.emit(HOLD_OPENED, _subject(row), hold_event_data(row))
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
        work.emit(HOLD_ENDED, _subject(row), HoldEnded(**hold_event_data(row), ended_by=by))
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
    return _rows(connection, and_(holds.c.strategy_id.in_(strategy_ids), holds.c.step_id.is_(None)))


def _rows(connection: Connection, which: ColumnElement[bool]) -> list[RowMapping]:
    query = select(*_SHOWN).select_from(_WITH_SITE).where(_IS_OPEN, which).order_by(holds.c.id)
    return list(connection.execute(query).mappings())


def _subject(row: RowMapping) -> str:
    return f"strategy/{row['strategy_id']}"
