"""Output of the runs of a step: stored for those that ended, live for those that go on."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from db.read_queries import Row
from db.schema import live_outputs, preparations, run_outputs, runs
from messages.limits import left_out_note
from statemachine.states import PHASES, RunState

# The most of one run's output that is shown, in bytes; what is beyond is left out with a note.
OUTPUT_LIMIT_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class PhaseRun:
    """A run of a phase."""

    run_id: int
    phase: str
    # Number of the try, from 1.
    attempt: int
    is_running: bool
    # How it ended; None while it is not known.
    outcome: str | None
    details: str
    has_text: bool

    @property
    def place(self) -> tuple[int, int]:
        """Its place among the runs of its step: the phase's, then the attempt's."""
        return _ORDER[self.phase], self.run_id


@dataclass(frozen=True, kw_only=True)
class PhaseOutput:
    """Output of the newest run of one phase."""

    run: PhaseRun
    # UTF-8.
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Text:
    """Output of a run after an offset."""

    # UTF-8, with notes where something is left out.
    content: bytes
    # The place after it, in bytes.
    end_bytes: int


_HAS_TEXT: Final = or_(
    exists().where(run_outputs.c.run_id == runs.c.id), exists().where(live_outputs.c.run_id == runs.c.id)
).label("has_text")
_SHOWN: Final = (
    *("id", "preparation_id", "phase", "attempt", "state", "outcome", "details", "owner"),
    *("dispatched_at", "started_at", "finished_at", "failure_class", "problem", "facts"),
)
_ORDER: Final = {phase: place for place, phase in enumerate(PHASES)}


def outputs(connection: Connection, step: Row, phase: str | None) -> list[PhaseOutput]:
    """Return the newest output of each phase of a step, or of `phase` alone, in the order of the phases."""
    newest = {run.phase: run for run in phase_runs(connection, step, phase) if run.has_text}
    return [PhaseOutput(run=run, content=text_after(connection, run, 0).content) for run in newest.values()]


def phase_runs(connection: Connection, step: Row, phase: str | None) -> list[PhaseRun]:
    """Return the begun runs of a step, or those of `phase` alone, in the order of phases and attempts.

    The preparation that served the step counts as its own, whichever step opened it.
    """
    wanted = and_(runs.c.state != RunState.QUEUED, _is_of(step))
    if phase is not None:
        wanted = and_(wanted, runs.c.phase == phase)
    return sorted(_phase_runs(connection, wanted), key=lambda run: run.place)


def phase_run(connection: Connection, run_id: int) -> PhaseRun | None:
    """Return a run, begun or not; None when it is no longer kept."""
    return next(iter(_phase_runs(connection, runs.c.id == run_id)), None)


def runs_of_step(connection: Connection, step: Row, *, after: int, limit: int) -> list[Row]:
    """Return runs of a step with ids above `after`, at most `limit`, in the order in which they were handed out.

    The preparation that served the step counts as its own. Each has `has_text`, whether it has printed anything.
    """
    query = select(*(runs.c[name] for name in _SHOWN), _HAS_TEXT).where(_is_of(step), runs.c.id > after)
    return cast("list[Row]", connection.execute(query.order_by(runs.c.id).limit(limit)).mappings().all())


def _phase_runs(connection: Connection, wanted: ColumnElement[bool]) -> list[PhaseRun]:
    columns = (runs.c.id, runs.c.phase, runs.c.attempt, runs.c.state, runs.c.outcome, runs.c.details, _HAS_TEXT)
    return [
        PhaseRun(
            run_id=row.id,
            phase=row.phase,
            attempt=row.attempt,
            is_running=row.state == RunState.RUNNING,
            outcome=row.outcome,
            details=row.details,
            has_text=bool(row.has_text),
        )
        for row in connection.execute(select(*columns).where(wanted))
    ]


def text_after(connection: Connection, run: PhaseRun, seen_bytes: int) -> Text:
    """Return what a run printed after its first `seen_bytes` bytes, whether it goes on or has ended.

    Places are the same in what comes live and in the kept output, so that nothing is sent twice at the change.
    """
    if not run.is_running:
        kept = connection.execute(select(run_outputs).where(run_outputs.c.run_id == run.run_id)).one_or_none()
        if kept is not None:
            content = _unzip(kept.content)
            text = _after(content, kept.left_out_at_bytes, kept.left_out_bytes, seen_bytes)
            # Of a run whose process died the end came live alone.
            more = _live_after(connection, run.run_id, text.end_bytes)
            return Text(content=text.content + more.content, end_bytes=more.end_bytes)
    return _live_after(connection, run.run_id, seen_bytes)


def ends_of(connection: Connection, run_ids: Collection[int]) -> dict[int, int | None]:
    """Return how much of each run has been printed that goes on, in bytes; None of one that does not."""
    end = select(func.max(live_outputs.c.end_bytes)).where(live_outputs.c.run_id == runs.c.id).scalar_subquery()
    query = select(runs.c.id, func.coalesce(end, 0).label("end")).where(
        runs.c.id.in_(run_ids), runs.c.state == RunState.RUNNING
    )
    return dict.fromkeys(run_ids) | {row.id: row.end for row in connection.execute(query)}


def _live_after(connection: Connection, run_id: int, seen_bytes: int) -> Text:
    query = (
        select(live_outputs.c.end_bytes, live_outputs.c.content)
        .where(live_outputs.c.run_id == run_id, live_outputs.c.end_bytes > seen_bytes)
        .order_by(live_outputs.c.end_bytes)
    )
    content = []
    for row in connection.execute(query):
        begin = row.end_bytes - len(row.content)
        if begin > seen_bytes:
            content.append(left_out_note(begin - seen_bytes).encode())
        content.append(row.content[max(0, seen_bytes - begin) :])
        seen_bytes = row.end_bytes
    return Text(content=b"".join(content), end_bytes=seen_bytes)


def _after(content: bytes, left_out_at: int, left_out: int, seen_bytes: int) -> Text:
    """Return what is behind a place of all that was printed, given the output that is kept of it."""
    if not left_out:
        return Text(content=content[seen_bytes:], end_bytes=max(seen_bytes, len(content)))
    tail = content[left_out_at + len(left_out_note(left_out).encode()) :]
    gap_end = left_out_at + left_out
    if seen_bytes <= left_out_at:
        rest = content[seen_bytes:]
    elif seen_bytes < gap_end:
        rest = left_out_note(gap_end - seen_bytes).encode() + tail
    else:
        rest = tail[seen_bytes - gap_end :]
    return Text(content=rest, end_bytes=max(seen_bytes, gap_end + len(tail)))


def _unzip(packed: bytes) -> bytes:
    reader = zlib.decompressobj()
    content = reader.decompress(packed, OUTPUT_LIMIT_BYTES)
    if reader.unconsumed_tail:
        content += f"\n[only the first {OUTPUT_LIMIT_BYTES} bytes are shown]\n".encode()
    return content


def _is_of(step: Row) -> ColumnElement[bool]:
    return or_(runs.c.step_id == step["id"], runs.c.preparation_id.in_(_preparations_for(step)))


def _preparations_for(step: Row) -> Select[Any]:
    if step["strategy_id"] is None:
        owner = preparations.c.step_id == step["id"]
    else:
        owner = preparations.c.strategy_id == step["strategy_id"]
    return select(preparations.c.id).where(
        owner, preparations.c.release == step["release"], preparations.c.from_version == step["from_version"]
    )
