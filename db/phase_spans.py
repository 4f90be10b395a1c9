"""Trace spans of phases: reserved when a run is dispatched, emitted when it is completed.

A phase of a strategy's step is a trace of its own, linked to that of the command that applied the strategy: a trace of
a thousand sites would be of no use to anybody. The phases of a standalone prestage are in the trace of its command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from db.schema import database_now, preparations, runs, steps, strategies
from statemachine.states import RunOutcome
from tracing.tracer import Tracer


@dataclass(frozen=True, kw_only=True)
class ConcludedPhase:
    """A run that has ended, with the facts of its span."""

    run_id: int
    phase: str
    attempt: int
    outcome: RunOutcome
    details: str
    step_id: int
    strategy_id: int | None
    subcloud: str
    # Its own traceparent, that above it, and that which it is linked to.
    trace: str
    parent: str | None
    link: str | None
    # In seconds since the epoch, by the database's clock.
    dispatched_epoch: float


def reserve_traces(connection: Connection, tracer: Tracer, rows: Sequence[dict[str, Any]]) -> list[str | None]:
    """Return the traceparent of each run in `rows`, which is not there yet; None for all when nothing is traced."""
    if not tracer.is_on:
        return [None] * len(rows)
    of_steps = _traces(connection, [row["step_id"] for row in rows if row["step_id"] is not None])
    of_preparations = _preparation_traces(
        connection, [row["preparation_id"] for row in rows if row["preparation_id"] is not None]
    )
    return [tracer.reserve(of_steps.get(row["step_id"]) or of_preparations.get(row["preparation_id"])) for row in rows]


def _traces(connection: Connection, step_ids: Sequence[int]) -> dict[int, str]:
    if not step_ids:
        return {}
    query = select(steps.c.id, steps.c.trace).where(steps.c.id.in_(step_ids), steps.c.trace.is_not(None))
    return {row.id: row.trace for row in connection.execute(query)}


def _preparation_traces(connection: Connection, preparation_ids: Sequence[int]) -> dict[int, str]:
    if not preparation_ids:
        return {}
    query = (
        select(preparations.c.id, steps.c.trace)
        .join(steps, steps.c.id == preparations.c.step_id)
        .where(preparations.c.id.in_(preparation_ids), steps.c.trace.is_not(None))
    )
    return {row.id: row.trace for row in connection.execute(query)}


def concluded_phases(connection: Connection, run_ids: Sequence[int]) -> tuple[list[ConcludedPhase], float]:
    """Return those of the runs that are traced, and the moment by the database's clock."""
    query = (
        select(
            runs.c.id,
            runs.c.phase,
            runs.c.attempt,
            runs.c.outcome,
            runs.c.details,
            runs.c.trace,
            runs.c.dispatched_at,
            steps.c.id.label("step_id"),
            steps.c.strategy_id,
            steps.c.subcloud_name,
            steps.c.trace.label("parent"),
            strategies.c.trace.label("link"),
        )
        .outerjoin(preparations, preparations.c.id == runs.c.preparation_id)
        .join(steps, steps.c.id == func.coalesce(runs.c.step_id, preparations.c.opened_by_step_id))
        .outerjoin(strategies, strategies.c.id == steps.c.strategy_id)
        .where(runs.c.id.in_(run_ids), runs.c.trace.is_not(None))
    )
    found = [
        ConcludedPhase(
            run_id=row.id,
            phase=row.phase,
            attempt=row.attempt,
            outcome=RunOutcome(row.outcome),
            details=row.details,
            step_id=row.step_id,
            strategy_id=row.strategy_id,
            subcloud=row.subcloud_name,
            trace=row.trace,
            parent=row.parent,
            link=row.link,
            dispatched_epoch=row.dispatched_at,
        )
        for row in connection.execute(query)
    ]
    return found, float(connection.execute(select(database_now())).scalar_one())
