"""Context of a run in a worker process: the ids of its log lines, and its spans.

A run is begun in one thread and ends in another, so nothing here is left to what a thread knows by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time
from typing import Final

from db.runs import RunAssignment
from runner.interface import RunEnded
from runner.progress import TaskEnd
from statemachine.states import PHASES, RunOutcome
from tracing.tracer import NULL_SPAN, NULL_TRACER, LogContext, Span, Tracer

# Text of these outcomes where the report has no sentence.
_FAILURES: Final[Mapping[RunOutcome, str]] = {
    RunOutcome.FAILED: "failed",
    RunOutcome.LOST: "lost",
    RunOutcome.CANCELLED: "cancelled",
}


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """One run in this process."""

    ids: Mapping[str, int | str] = field(default_factory=dict)
    tracer: Tracer = NULL_TRACER
    # The traceparent of its phase.
    phase: str | None = None
    # What this worker does for it, from the claim to the end.
    work: Span = NULL_SPAN

    def bound(self) -> LogContext:
        """Be about this run, within its work, for a block."""
        return LogContext(self.ids, self.work.traceparent)

    def reporting(self) -> Span:
        """Begin to report."""
        return NULL_SPAN if self.phase is None else self.tracer.begin("report", parent=self.phase)

    def ended(self, outcome: RunOutcome, details: str) -> None:
        """End the work."""
        if self.phase is None:
            return
        self.work.set_attributes({"prestager.outcome": outcome})
        if outcome in _FAILURES:
            self.work.fail(details or _FAILURES[outcome])
        self.work.end()

    def tell_tasks(self, result: RunEnded) -> None:
        """Tell of the tasks of its playbook."""
        for task in result.tasks:
            self.tracer.record(
                f"task {task.name}",
                parent=self.work.traceparent,
                began_epoch=task.began_at,
                ended_epoch=task.ended_at,
                attributes={"prestager.task.result": task.result},
                failure="The task failed." if task.result == TaskEnd.FAILED else None,
            )


# Of a run that this process knows nothing of but its id.
UNKNOWN: Final = RunContext()


def context_of(assignment: RunAssignment, tracer: Tracer, worker: str) -> RunContext:
    """Return the context of a run that was just claimed, its work begun."""
    ids: dict[str, int | str] = {
        "run": assignment.run_id,
        "step": assignment.for_step_id,
        "subcloud": assignment.subcloud["name"],
        "phase": assignment.phase,
        "attempt": assignment.attempt,
    }
    if assignment.strategy_id is not None:
        ids["strategy"] = assignment.strategy_id
    if assignment.trace is None or not tracer.is_on:
        return RunContext(ids=ids)
    now = time()
    tracer.record("wait for a worker", parent=assignment.trace, began_epoch=now - assignment.waited_s, ended_epoch=now)
    name = "run playbook" if PHASES[assignment.phase].needs_slot else "inspect site"
    work = tracer.begin(
        name,
        parent=assignment.trace,
        attributes={"prestager.worker": worker, **{f"prestager.{key}": value for key, value in ids.items()}},
    )
    return RunContext(ids=ids, tracer=tracer, phase=assignment.trace, work=work)
