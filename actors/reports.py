"""Tell the database how runs ended: many results in one transaction, each fenced by its owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Final

import structlog
from sqlalchemy.exc import OperationalError

from actors.meters import Meters, Unmeasured
from db.engine import Database
from db.journal import Journal
from db.live import end_live
from db.runs import Report, finish
from statemachine.states import RunOutcome

_log = structlog.get_logger(__name__)

_BATCH: Final = 200


class Reporter:
    """Collects reports from any thread and writes them; `flush` is the work of its loop.

    A report that cannot be written stays, and is tried again: a result is never lost while this process lives.
    """

    def __init__(
        self, database: Database, owner: str, wake_relay: Callable[[], None], meters: Meters | None = None
    ) -> None:
        self._database = database
        self._owner = owner
        self._wake_relay = wake_relay
        self._meters = meters or Unmeasured()
        self._queue: SimpleQueue[Report] = SimpleQueue()
        self._unwritten: list[Report] = []
        # The loop and a stopping service may flush at the same time.
        self._flushing = Lock()
        self._pending: set[int] = set()
        self._counting = Lock()
        self.wake: Callable[[], None] = lambda: None

    def add(self, report: Report) -> None:
        """Take a report; it is written soon. Callable from any thread, and quick."""
        with self._counting:
            self._pending.add(report.run_id)
        self._queue.put(report)
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
        reports = sorted(self._unwritten, key=lambda report: report.run_id)
        try:
            self._write(reports)
        except OperationalError:
            # The store is away, and what it did not take is written when it is back.
            raise
        except Exception:  # noqa: BLE001 - one report must not hold up the others
            _log.exception("reports.unwritable", count=len(reports))
            for report in reports:
                self._write_alone(report)
        self._unwritten.clear()
        with self._counting:
            self._pending.difference_update(report.run_id for report in reports)

    def _write_alone(self, report: Report) -> None:
        try:
            self._write([report])
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 - its run ends all the same
            _log.exception("report.unwritable", run=report.run_id)
            reason = "The result of the run could not be stored."
            self._write([Report(run_id=report.run_id, outcome=RunOutcome.FAILED, details=reason, facts={})])

    def _write(self, reports: Sequence[Report]) -> None:
        at = datetime.now(UTC)
        journal = Journal(at, self._owner)
        with self._database.write() as connection:
            kept = {report.run_id: report for report in reports if finish(connection, report, self._owner, at)}
            watched = {run_id: one.progress for run_id, one in kept.items() if one.progress is not None}
            end_live(connection, journal, watched)
            if kept:
                journal.call("coordinate")
            journal.write(connection)
        for run_id in {report.run_id for report in reports}.difference(kept):
            _log.warning("run.fenced", run=run_id)
            self._meters.result_fenced()
        if kept:
            self._wake_relay()
