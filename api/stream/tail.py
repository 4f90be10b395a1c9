"""The log of a step or of one run as it grows: the output there is, then what follows, until it has ended.

Pure but for its reads. The position in the log is a value, so that a read that was given up has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from db import read_queries
from db.read_queries import Row
from db.run_output import PhaseRun, phase_run, phase_runs, text_after
from statemachine.states import RunOutcome, StepState, is_after

# After these a phase is not tried again.
_CONCLUSIVE: Final = frozenset({RunOutcome.SUCCEEDED, RunOutcome.SKIPPED, RunOutcome.FAILED})
_BEFORE_ALL: Final = (-1, 0)


@dataclass(frozen=True, kw_only=True)
class LogPosition:
    """Position in a log: the end of the part that was sent."""

    # Place of the last run of which a part was sent.
    place: tuple[int, int] = _BEFORE_ALL
    # Number of bytes of its output that were sent.
    seen_bytes: int = 0
    # Whether all of its output was sent.
    is_ended: bool = True
    # Whether the text ends with a whole line.
    is_line: bool = True
    # Whether nothing will follow.
    is_over: bool = False


@dataclass(frozen=True, kw_only=True)
class LogTail:
    """The log of one step, or of one phase of it."""

    step_id: int
    phase: str | None

    def after(self, connection: Connection, position: LogPosition) -> tuple[bytes, LogPosition]:
        """Return the text after a position, and the position after that text."""
        # Before the runs: when the step is over, all of them are there.
        step = read_queries.followed_step(connection, self.step_id)
        if step is None:
            return b"", replace(position, is_over=True)
        runs = phase_runs(connection, step, self.phase)
        content = []
        for run in _runs_after(runs, position):
            new, position = self._send_run(connection, run, position)
            content.append(new)
        if self._is_over(step, runs):
            position = replace(position, is_over=True)
            content.append(self._last_line(step, runs))
        return b"".join(content), position

    def _send_run(self, connection: Connection, run: PhaseRun, position: LogPosition) -> tuple[bytes, LogPosition]:
        head, has_outcome = b"", False
        if position.place != run.place:
            # The output of a single phase has no header, but another attempt of the phase has one.
            has_header = self.phase is None or position.place != _BEFORE_ALL
            position = LogPosition(place=run.place, is_ended=False)
            if has_header and not run.is_running and not run.has_text:
                # It ended without a word, as most prechecks do.
                return b"", replace(position, is_ended=True)
            if has_header:
                head, has_outcome = header(run), not run.is_running
        text = text_after(connection, run, position.seen_bytes)
        is_line = text.content.endswith(b"\n") if text.content else position.is_line
        content = head + text.content
        if run.is_running:
            return content, replace(position, seen_bytes=text.end_bytes, is_line=is_line)
        end = b"" if has_outcome else _end(run)
        return content + (b"" if is_line else b"\n") + end, LogPosition(place=run.place)

    def _is_over(self, step: Row, runs: list[PhaseRun]) -> bool:
        if any(run.is_running for run in runs):
            return False
        if step["is_over"] or self.phase is None:
            return bool(step["is_over"])
        if runs and runs[-1].outcome in _CONCLUSIVE:
            return True
        # A step may be past a phase that had no run.
        return is_after(step["state"], self.phase)

    def _last_line(self, step: Row, runs: list[PhaseRun]) -> bytes:
        if self.phase is not None and runs:
            # The end of the phase was sent.
            return b""
        why = step["details"] or ("its strategy was deleted" if step["state"] == StepState.INITIAL else "")
        return f"=== {step['subcloud_name']}: {step['state']}{why and ': '}{why} ===\n".encode()


@dataclass(frozen=True, kw_only=True)
class RunTail:
    """The log of one run: what it prints, then a line with its end."""

    run_id: int

    def after(self, connection: Connection, position: LogPosition) -> tuple[bytes, LogPosition]:
        """Return the text after a position, and the position after that text."""
        run = phase_run(connection, self.run_id)
        if run is None:
            return b"", replace(position, is_over=True)
        if not run.is_running and run.outcome is None:
            # It waits for a worker.
            return b"", position
        text = text_after(connection, run, position.seen_bytes)
        is_line = text.content.endswith(b"\n") if text.content else position.is_line
        if run.is_running:
            seen = LogPosition(place=run.place, seen_bytes=text.end_bytes, is_ended=False, is_line=is_line)
            return text.content, seen
        end = (b"" if is_line else b"\n") + _end(run)
        return text.content + end, LogPosition(place=run.place, is_over=True)


def header(run: PhaseRun) -> bytes:
    """Return the line above what a run printed."""
    return f"=== {run.phase}, attempt {run.attempt}, {run.outcome or 'running'} ===\n".encode()


def _end(run: PhaseRun) -> bytes:
    details = f": {run.details}" if run.details else ""
    return f"=== {run.phase}, attempt {run.attempt}, {run.outcome}{details} ===\n".encode()


def _runs_after(runs: list[PhaseRun], position: LogPosition) -> list[PhaseRun]:
    """Return the runs whose ends were not sent; at first each phase begins with its newest run that printed."""
    if position.place == _BEFORE_ALL:
        newest = {run.phase: run.place for run in runs if run.has_text}
        return [run for run in runs if run.place >= newest.get(run.phase, run.place)]
    return [
        run for run in runs if run.place > position.place or (run.place == position.place and not position.is_ended)
    ]
