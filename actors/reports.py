"""Tell the database how runs ended: many results in one transaction, each fenced by its owner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Final

import structlog

from db.engine import Database
from db.journal import Journal
from db.runs import Report, finish

_log = structlog.get_logger(__name__)

_BATCH: Final = 200


class Reporter:
    """Collects reports from any thread and writes them; `flush` is the work of its loop.

    A report that cannot be written stays, and is tried again: a result is never lost while this process lives.
    """

    def __init__(self, database: Database, owner: str, wake_relay: Callable[[], None]) -> None:
        self._database = database
        self._owner = owner
        self._wake_relay = wake_relay
        self._queue: SimpleQueue[Report] = SimpleQueue()
        self._unwritten: list[Report] = []
        self.wake: Callable[[], None] = lambda: None

    def add(self, report: Report) -> None:
        """Take a report; it is written soon. Callable from any thread, and quick."""
        self._queue.put(report)
        self.wake()

    def flush(self) -> None:
        """Write everything that was added."""
        while self._collect():
            self._write()

    def _collect(self) -> bool:
        while len(self._unwritten) < _BATCH:
            try:
                self._unwritten.append(self._queue.get_nowait())
            except Empty:
                break
        return bool(self._unwritten)

    def _write(self) -> None:
        at = datetime.now(UTC)
        journal = Journal(at)
        with self._database.write() as connection:
            kept = [report for report in self._unwritten if finish(connection, report, self._owner, at)]
            if kept:
                journal.call("coordinate")
            journal.write(connection)
        fenced = {report.run_id for report in self._unwritten} - {report.run_id for report in kept}
        self._unwritten.clear()
        for run_id in fenced:
            _log.warning("run.fenced", run=run_id)
        if kept:
            self._wake_relay()
