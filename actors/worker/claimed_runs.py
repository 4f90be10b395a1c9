"""The runs that this process has claimed, from the claim to the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic, sleep
from typing import Final, TypeVar

import structlog

from actors.worker.dependencies import WorkerDependencies
from actors.worker.run_context import UNKNOWN, RunContext, context_of
from db.errors import DatabaseUnavailableError
from db.runs import RunAssignment, RunResult, claim, hand_back
from db.unit_of_work import unit_of_work
from statemachine.states import RunOutcome, StepState

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")

# Tries while the database restarts. A run that is not claimed then is found again by the loops, seconds later.
_TRIES: Final = 12
_PAUSE_S: Final = 0.5

_GOOD: Final = frozenset({RunOutcome.SUCCEEDED, RunOutcome.SKIPPED})


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A run that this process works on."""

    phase: StepState
    # By a monotonic clock: when the claim was asked for, from which its lease counts, and when it was answered.
    asked_at: float
    taken_at: float
    context: RunContext


class ClaimedRuns:
    """Runs that this process works on. Every method can be called from any thread."""

    def __init__(self, tools: WorkerDependencies) -> None:
        self._tools = tools
        self._held: dict[int, _Held] = {}
        # Runs that a thread is claiming.
        self._claiming: set[int] = set()
        # Runs that were let go, of which the database does not know yet.
        self._letting_go: set[int] = set()
        self._lock = Lock()

    def ids(self) -> frozenset[int]:
        """Return the runs that are worked on now."""
        with self._lock:
            return frozenset(self._held)

    def unsettled(self) -> frozenset[int]:
        """Return the runs whose claim or end is under way to the database."""
        with self._lock:
            return frozenset(self._claiming | self._letting_go)

    def claimed_at(self, run_id: int) -> float | None:
        """Return when the claim of a run was asked for, by a monotonic clock; None if this process does not hold it."""
        with self._lock:
            held = self._held.get(run_id)
        return None if held is None else held.asked_at

    def context(self, run_id: int) -> RunContext:
        """Return the context of a run; an empty one, if this process does not work on it."""
        with self._lock:
            held = self._held.get(run_id)
        return UNKNOWN if held is None else held.context

    def claim(self, run_id: int, is_hopeless: Callable[[], bool]) -> RunAssignment | None:
        """Claim a run; None: it is taken or withdrawn. While the database is away it is tried for some seconds.

        A claim whose commit arrived though its answer did not is found by the next try. A run that this process is
        letting go is not: its end is only not written down yet.

        Raises:
            DatabaseUnavailableError: It did not come back, or `is_hopeless` said that it is not to be waited for.
        """
        with self._lock:
            if run_id in self._held or run_id in self._claiming:
                return None
            is_let_go = run_id in self._letting_go or run_id in self._tools.results.pending()
            self._claiming.add(run_id)
        try:
            return retry_while_unavailable(
                lambda attempt: self._claim_once(run_id, again=attempt > 1 and not is_let_go), is_hopeless
            )
        finally:
            with self._lock:
                self._claiming.discard(run_id)

    def _claim_once(self, run_id: int, *, again: bool) -> RunAssignment | None:
        asked_at = monotonic()
        with unit_of_work(self._tools.database) as work:
            assignment = claim(work, run_id, self._tools.owner, again=again)
        if assignment is not None:
            context = context_of(assignment, self._tools.tracer, self._tools.owner)
            with self._lock:
                self._held[run_id] = _Held(
                    phase=assignment.phase, asked_at=asked_at, taken_at=monotonic(), context=context
                )
            self._tools.metrics.run_claimed(assignment.phase, assignment.waited_s)
        return assignment

    def finish(self, report: RunResult) -> None:
        """Let a run go and report how it ended."""
        with self._let_go(report.run_id) as held:
            self._finish(report, held)

    def _finish(self, report: RunResult, held: _Held | None) -> None:
        context = UNKNOWN if held is None else held.context
        if held is not None:
            worked_s = monotonic() - held.taken_at
            report = replace(report, worked_s=worked_s)
            self._tools.metrics.run_ended(held.phase, report.outcome, worked_s)
            # A good end is in the coordinator's log already, as the next state; a line here would cost 1 % of a phase.
            if report.outcome not in _GOOD:
                _log.info("run.ended", outcome=str(report.outcome), details=report.details)
        context.ended(report.outcome, report.details)
        self._tools.results.add(report, context)

    def hand_back(self, run_id: int) -> None:
        """Let a run go, to wait for a worker again. While the database is away it is tried for some seconds.

        Raises:
            DatabaseUnavailableError: It did not come back; the run is given up as lost after two renewals.
        """
        # Let go first: as soon as the run is queued another thread of this process may take it again.
        with self._let_go(run_id) as held:
            if held is not None:
                held.context.work.end()
            retry_while_unavailable(lambda _: self._hand_back_once(run_id), lambda: False)

    @contextmanager
    def _let_go(self, run_id: int) -> Iterator[_Held | None]:
        """Give the record of a run, while its end is brought to the database or the result writer."""
        with self._lock:
            held = self._held.pop(run_id, None)
            self._letting_go.add(run_id)
        try:
            yield held
        finally:
            with self._lock:
                self._letting_go.discard(run_id)

    def _hand_back_once(self, run_id: int) -> None:
        with self._tools.database.write() as connection:
            hand_back(connection, run_id, self._tools.owner)


def retry_while_unavailable(work: Callable[[int], _T], is_hopeless: Callable[[], bool]) -> _T:
    """Return what `work`, given the number of the try, does; while the database is away it is tried for some seconds.

    Raises:
        DatabaseUnavailableError: It did not come back, or `is_hopeless` said that it is not to be waited for.
    """
    for attempt in range(1, _TRIES):
        try:
            return work(attempt)
        except DatabaseUnavailableError:
            if is_hopeless():
                raise
            sleep(_PAUSE_S)
    return work(_TRIES)


def run_result(run_id: int, outcome: RunOutcome, details: str = "", *, output: bytes = b"") -> RunResult:
    """Return the result of a run that brought no facts; `output` is zlib-compressed UTF-8."""
    return RunResult(run_id=run_id, outcome=outcome, details=details, facts={}, output=output)
