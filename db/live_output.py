"""Output and progress of running playbooks, written by their workers about once a second.

Every write is for runs that `hold` has just found to be the worker's own, in the same transaction. When a run ends in
good order its output takes the place of the pieces here; those of a lost one stay, for they are all there is, and those
of one whose process died that are not in its output.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, null, select, update

from db.schema import live_outputs, preparations, runs, steps
from db.unit_of_work import RunIds, UnitOfWork
from messages.event_types import RunEventData, event_name
from statemachine.states import RunState


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of what a run prints."""

    run_id: int
    # Its place in all that the run printed.
    at_bytes: int
    # UTF-8.
    content: bytes

    @property
    def end_bytes(self) -> int:
        """End of it, as an offset."""
        return self.at_bytes + len(self.content)


@dataclass(frozen=True, kw_only=True)
class UnsavedTail:
    """Output of a run beyond what is kept of it; it is only in the stream."""

    # Where that output ends.
    at_bytes: int
    # The last pieces of the live output, which may not be in the database yet; in order.
    pieces: Sequence[Piece]


def hold(connection: Connection, run_ids: Collection[int], owner: str) -> frozenset[int]:
    """Return which of the runs are still `owner`'s, and keep them so until the transaction ends."""
    # Locked in id order, as leases and reports are: two writers of the same rows never wait for each other in a ring.
    query = (
        select(runs.c.id)
        .where(runs.c.id.in_(run_ids), runs.c.owner == owner, runs.c.state == RunState.RUNNING)
        .order_by(runs.c.id)
        .with_for_update()
    )
    return frozenset(connection.execute(query).scalars())


def add_pieces(connection: Connection, pieces: Sequence[Piece]) -> None:
    """Add pieces; each run's are new, and in their order."""
    if pieces:
        rows = [{"run_id": one.run_id, "end_bytes": one.end_bytes, "content": one.content} for one in pieces]
        connection.execute(insert(live_outputs), rows)


def forget_from(connection: Connection, run_id: int, at_bytes: int) -> None:
    """Forget the pieces of a run that end behind a place."""
    connection.execute(delete(live_outputs).where(live_outputs.c.run_id == run_id, live_outputs.c.end_bytes > at_bytes))


def forget_between(connection: Connection, run_id: int, begin_bytes: int, end_bytes: int) -> None:
    """Forget the pieces of a run that begin and end between two places."""
    begins = live_outputs.c.end_bytes - func.length(live_outputs.c.content)
    connection.execute(
        delete(live_outputs).where(
            live_outputs.c.run_id == run_id, live_outputs.c.end_bytes <= end_bytes, begins >= begin_bytes
        )
    )


def set_progress(connection: Connection, progress: Mapping[int, Mapping[str, Any]]) -> None:
    """Store how far runs are, by their ids."""
    if progress:
        connection.execute(
            update(runs).where(runs.c.id == bindparam("watched_run")).values(progress=bindparam("now")),
            [{"watched_run": run_id, "now": dict(now)} for run_id, now in sorted(progress.items())],
        )


def end_live(
    work: UnitOfWork,
    progress: Mapping[int, Mapping[str, Any]],
    beyond: Mapping[int, UnsavedTail] | None = None,
) -> None:
    """Conclude runs that were watched and have just been finished, given how far each came.

    Of those in `beyond`, whose processes died, the pieces behind the kept output stay.
    """
    cut = beyond or {}
    if progress:
        connection = work.connection
        connection.execute(delete(live_outputs).where(live_outputs.c.run_id.in_(progress.keys() - cut.keys())))
        for run_id, what in cut.items():
            _keep_beyond(connection, run_id, what)
        set_progress(connection, progress)
        tell_progress(work, progress)


def _keep_beyond(connection: Connection, run_id: int, beyond: UnsavedTail) -> None:
    if beyond.pieces:
        forget_from(connection, run_id, beyond.pieces[0].at_bytes)
        add_pieces(connection, beyond.pieces)
    known = (live_outputs.c.run_id == run_id, live_outputs.c.end_bytes <= beyond.at_bytes)
    connection.execute(delete(live_outputs).where(*known))


def tell_progress(work: UnitOfWork, run_ids: Iterable[int]) -> None:
    """Emit events of the progress of runs, by their rows, and of outcomes; none for runs without progress."""
    wanted = (runs.c.id.in_(list(run_ids)), runs.c.progress.is_not(null()))
    for row in work.connection.execute(_watched().where(*wanted).order_by(runs.c.id)):
        run = RunIds(id=row.id, phase=row.phase, attempt=row.attempt, trace=row.trace)
        work.emit(event_name("run", row.type, row.phase), f"run/{row.id}", _about(row), run=run)


def running_runs(connection: Connection) -> list[tuple[int, RunEventData]]:
    """Return the id of each run that goes on and what its events tell, in the order of ids."""
    query = _watched().where(~runs.c.consumed, runs.c.state == RunState.RUNNING).order_by(runs.c.id)
    return [(row.id, _about(row)) for row in connection.execute(query)]


# The live output of a preparation counts as that of the step that opened it.
_STEP: Final = func.coalesce(runs.c.step_id, preparations.c.opened_by_step_id)


def _watched() -> Select[Any]:
    return select(
        runs.c.id,
        runs.c.phase,
        runs.c.attempt,
        runs.c.outcome,
        runs.c.progress,
        runs.c.trace,
        runs.c.preparation_id,
        steps.c.id.label("step_id"),
        steps.c.strategy_id,
        steps.c.subcloud_name,
        steps.c.stage,
        steps.c.type,
    ).select_from(
        runs.outerjoin(preparations, runs.c.preparation_id == preparations.c.id).join(steps, and_(steps.c.id == _STEP))
    )


def _about(row: Any) -> RunEventData:
    about: RunEventData = {
        "strategy": row.strategy_id,
        "subcloud": row.subcloud_name,
        "stage": row.stage,
        "step": row.step_id,
        "phase": row.phase,
        "attempt": row.attempt,
    }
    if row.progress:
        about.update(row.progress)
    if row.preparation_id is not None:
        about["preparation"] = row.preparation_id
    if row.outcome is not None:
        about["outcome"] = row.outcome
    return about
