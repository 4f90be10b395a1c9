"""Requests to cancel in the database: marks on steps and on their runs, which workers and the plan act on."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select, update

from db.holds import hold_clock, withdraw_runs
from db.schema import preparations, runs, steps, strategies
from db.unit_of_work import UnitOfWork
from messages.queues import CANCEL_RUNS
from statemachine.states import SHARED_PHASES, PreparationState, RunState, StepState

_IS_OPEN: Final = steps.c.finished_at.is_(None)
_IS_MARKED: Final = steps.c.cancel_requested_at.is_not(None)


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


def request_cancel(work: UnitOfWork, which: ColumnElement[bool], *, by: str, grace_s: float | None = None) -> None:
    """Mark the open steps of a condition to be cancelled, withdraw their queued runs and have the running ones stopped.

    Args:
        work: The transaction.

        which: Condition of the steps. One that is marked already keeps its mark; its run gets the new grace.

        by: The caller, or the reason in place of one.

        grace_s: Seconds from the request to end to the end by force; None: the worker's default.
    """
    work.connection.execute(
        update(steps)
        .where(_IS_OPEN, ~_IS_MARKED, which)
        .values(cancel_requested_at=hold_clock(work.connection), cancel_requested_by=by)
    )
    withdraw_runs(work, and_(_IS_MARKED, which))
    marked = select(steps.c.id).where(_IS_OPEN, _IS_MARKED, which)
    work.connection.execute(
        update(runs)
        .where(
            ~runs.c.consumed,
            runs.c.state.in_((RunState.QUEUED, RunState.RUNNING)),
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
        exists().where(is_owner, _IS_OPEN, _IS_MARKED, which),
    )
