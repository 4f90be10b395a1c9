"""Tell the database how runs ended: many results in one transaction, each fenced by its owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Final

import structlog

from actors.metrics import Metrics, NullMetrics
from actors.worker.run_context import UNKNOWN, RunContext
from db.database import Database
from db.errors import DatabaseUnavailableError
from db.live_output import end_live
from db.runs import RunResult, finish_runs
from db.unit_of_work import unit_of_work
from statemachine.states import FailureClass, RunOutcome
from tracing.tracer import Span

_log = structlog.get_logger(__name__)

_BATCH: Final = 200


@dataclass(frozen=True, kw_only=True)
class _Reported:
    """A report that waits to be written."""

    report: RunResult
    context: RunContext
    span: Span


class ResultWriter:
    """Collects reports from any thread and writes them; `flush` is the work of its loop.

    A report that cannot be written stays, and is tried again: a result is never lost while this process lives.
    """

    def __init__(self, database: Database, owner: str, metrics: Metrics | None = None) -> None:
        self._database = database
        self._owner = owner
        self._metrics = metrics or NullMetrics()
        self._queue: SimpleQueue[_Reported] = SimpleQueue()
        self._unwritten: list[_Reported] = []
        # The loop and a stopping service may flush at the same time.
        self._flushing = Lock()
        self._pending: set[int] = set()
        self._counting = Lock()
        self.wake: Callable[[], None] = lambda: None

    def add(self, report: RunResult, context: RunContext = UNKNOWN) -> None:
        """Take a report; it is written soon. Callable from any thread, and quick."""
        with self._counting:
            self._pending.add(report.run_id)
        self._queue.put(_Reported(report=report, context=context, span=context.reporting()))
        self.wake()

    def flush(self) -> None:
        """Write everything that was added."""
        with self._flushing:
            while self._collect():
                self._write_collected()

    def pending(self) -> frozenset[int]:
        """Return the runs whose reports wait to be written."""
        with self._counting:
            return frozenset(self._pending)

    def _collect(self) -> bool:
        while len(self._unwritten) < _BATCH:
            try:
                self._unwritten.append(self._queue.get_nowait())
            except Empty:
                break
        return bool(self._unwritten)

    def _write_collected(self) -> None:
        # In id order, as leases are renewed: two statements over the same rows never wait for each other in a ring.
        collected = sorted(self._unwritten, key=lambda one: one.report.run_id)
        try:
            self._write(collected)
        except DatabaseUnavailableError:
            # The database is away, and what it did not take is written when it is back.
            raise
        except Exception:  # noqa: BLE001 - one report must not hold up the others
            _log.exception("reports.unwritable", count=len(collected))
            for one in collected:
                with one.context.bound():
                    self._write_alone(one)
        self._unwritten.clear()
        with self._counting:
            self._pending.difference_update(one.report.run_id for one in collected)

    def _write_alone(self, one: _Reported) -> None:
        run_id = one.report.run_id
        try:
            self._write([one])
        except DatabaseUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - its run ends all the same
            _log.exception("report.unwritable", run=run_id)
            reason = "The result of the run could not be stored."
            failed = RunResult(
                run_id=run_id,
                outcome=RunOutcome.FAILED,
                details=reason,
                facts={},
                failure_class=FailureClass.CONTROLLER,
            )
            self._write([replace(one, report=failed)])

    def _write(self, collected: Sequence[_Reported]) -> None:
        # A run that was given up and ended after all has two.
        first = {one.report.run_id: one for one in reversed(collected)}
        kept: list[_Reported] = []
        fenced: list[_Reported] = []
        with unit_of_work(self._database) as work:
            reports = [one.report for one in first.values()]
            held = finish_runs(work.connection, reports, self._owner, work.at)
            for one in collected:
                is_first = one is first[one.report.run_id]
                (kept if is_first and one.report.run_id in held else fenced).append(one)
            ended = {one.report.run_id: one.report.progress for one in kept}
            beyond = {one.report.run_id: one.report.beyond for one in kept}
            end_live(
                work,
                {run_id: told for run_id, told in ended.items() if told is not None},
                {run_id: what for run_id, what in beyond.items() if what is not None},
            )
            if kept:
                # One message for all of them, in the trace of the first.
                work.enqueue("coordinate", trace=kept[0].span.traceparent)
        for one in fenced:
            with one.context.bound():
                _log.warning("run.fenced", run=one.report.run_id)
            one.span.fail("The run was no longer this worker's.")
            self._metrics.result_fenced()
        for one in collected:
            one.span.end()
