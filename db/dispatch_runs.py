"""Hand runs out: a queued row each, and the message that tells a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from db.phase_spans import reserve_traces
from db.schema import runs
from db.types import database_now
from db.unit_of_work import RunIds, UnitOfWork
from statemachine.phases import PHASES
from statemachine.states import RunState, StepState


def new_run(
    phase: StepState, attempt: int, *, step_id: int | None = None, preparation_id: int | None = None
) -> dict[str, Any]:
    """Return the values of a run that waits for a worker, for a step or for a preparation."""
    return {
        "step_id": step_id,
        "preparation_id": preparation_id,
        "phase": phase,
        "attempt": attempt,
        "state": RunState.QUEUED,
        "details": "",
        "facts": {},
        "cancel_requested": False,
        "consumed": False,
    }


def add_runs(work: UnitOfWork, rows: Sequence[dict[str, Any]]) -> list[RunIds]:
    """Add queued runs and the messages that hand them out; return them in the order of `rows`."""
    if not rows:
        return []
    statement = insert(runs).returning(runs.c.id, sort_by_parameter_order=True)
    now = float(work.connection.execute(select(database_now())).scalar_one())
    traces = reserve_traces(work.connection, work.tracer, rows)
    values = [{**row, "dispatched_at": now, "trace": trace} for row, trace in zip(rows, traces, strict=True)]
    ids = work.connection.execute(statement, values).scalars()
    added = [
        RunIds(id=run_id, phase=row["phase"], attempt=row["attempt"], trace=row["trace"], dispatched_at=now)
        for row, run_id in zip(values, ids, strict=True)
    ]
    for run in added:
        work.enqueue(PHASES[run.phase].actor, [run.id], trace=run.trace)
    work.dispatched += added
    return added


def mark_processed(work: UnitOfWork, run_ids: Sequence[int]) -> None:
    """Mark finished runs as concluded: the plan never looks at them again."""
    if run_ids:
        work.connection.execute(
            update(runs).where(runs.c.id == bindparam("consumed_run")).values(consumed=True),
            [{"consumed_run": run_id} for run_id in run_ids],
        )
        work.completed += run_ids
