"""Heartbeat of one process: writes its row every few seconds, and removes it at a stop in order.

A database that is away costs one line in the log; the next beat tries again. The controller's directories are looked
at in a thread of their own, for a network file system may hold a look up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from db.database import Database
from db.encryption import Sealer
from db.errors import why_unavailable
from db.heartbeats import (
    BEAT_S,
    ProcessIdentity,
    ProcessReport,
    forget_dead_processes,
    register_process,
    remove_process,
    write_heartbeat,
)
from db.secret_keys import needed_keys, note_sealing
from playbook_sets.controller_content import ControllerContent
from service.periodic_thread import PeriodicThread

if TYPE_CHECKING:
    from actors.worker.worker import StepWorker

_log = structlog.get_logger(__name__)

# Seconds between two looks at the controller's directories.
_LOOK_S: Final = 30.0
# Beats between two removals of rows of the dead: an hour.
_FORGET_BEATS: Final = 360


@dataclass(frozen=True, kw_only=True)
class ReportedProcess:
    """A process, and where its heartbeats take from what may change."""

    identity: ProcessIdentity
    # Seals and opens this process's secrets.
    sealer: Sealer
    # Looks at the controller's directories; may take long.
    look: Callable[[], ControllerContent]


class Heartbeat:
    """Reports one process; `start` and `stop` once each."""

    def __init__(self, database: Database, process: ReportedProcess, worker: StepWorker | None = None) -> None:
        self._database = database
        self._process = process
        self._worker = worker
        self._content: ControllerContent | None = None
        self._beats = 0
        # The keys that were reported last, the sealing one first.
        self._key_ids: tuple[str, ...] = ()
        self._is_written = True
        self._beat_loop = PeriodicThread("heartbeat", self.beat, BEAT_S)
        self._look_loop = PeriodicThread("controller-content", self.look, _LOOK_S)

    def start(self) -> None:
        """Begin to report, at once and then every `BEAT_S` seconds."""
        self._beat_loop.start()
        self._look_loop.start()

    def stop(self) -> None:
        """End, and remove the row; while the database is away it stays until it is forgotten."""
        self._look_loop.stop(join=False)
        self._beat_loop.stop()
        if not self._is_written:
            return
        try:
            with self._database.write() as connection:
                note_sealing(connection, self._key_ids[:1])
                remove_process(connection, self._process.identity.process)
        except SQLAlchemyError as error:
            _log.warning("heartbeat.not-removed", reason=_reason(error))

    def wake(self) -> None:
        """Report at once, for something has changed; callable from any thread."""
        self._beat_loop.wake()

    def look(self) -> None:
        """Look at the controller's directories, and report at once what has changed."""
        content = self._process.look()
        if content != self._content:
            self._content = content
            self.wake()

    def beat(self) -> None:
        """Write the row of this process; a failure is logged once, until a beat succeeds again."""
        try:
            self._write(self._report())
        except SQLAlchemyError as error:
            if self._is_written:
                _log.warning("heartbeat.not-written", reason=_reason(error), advice="See: prestager doctor")
            self._is_written = False
        else:
            if not self._is_written:
                _log.info("heartbeat.written-again")
            self._is_written = True

    def _write(self, report: ProcessReport) -> None:
        identity = self._process.identity
        with self._database.write() as connection:
            if not write_heartbeat(connection, identity, report):
                # A predecessor that died may have sealed until a moment ago.
                note_sealing(connection, register_process(connection, identity, report))
            if self._beats % _FORGET_BEATS == 0:
                forget_dead_processes(connection)
            if report.key_ids != self._key_ids:
                self._keys_changed(connection, report.key_ids)
        self._beats += 1
        self._key_ids = report.key_ids

    def _keys_changed(self, connection: Connection, key_ids: tuple[str, ...]) -> None:
        note_sealing(connection, [*self._key_ids[:1], key_ids[0]])
        needed = needed_keys(connection, self._process.sealer)
        missing = {one: count for one, count in needed.items() if one is not None and one not in key_ids}
        if missing:
            _log.error(
                "secret-key.missing",
                missing_key_ids=sorted(missing),
                count=sum(missing.values()),
                advice="Put the missing keys back into PRESTAGER_SECRET_KEY_FILE, or what they sealed cannot be opened."
                " See: prestager key list",
            )

    def _report(self) -> ProcessReport:
        content, worker = self._content, self._worker
        return ProcessReport(
            key_ids=self._process.sealer.key_ids,
            running=None if worker is None else worker.playbook_count,
            prechecks=None if worker is None else worker.precheck_count,
            draining=worker is not None and worker.is_draining,
            releases=None if content is None else content.releases,
            feeds=None if content is None else content.feeds,
            playbooks_error=None if worker is None else worker.playbooks.error,
        )


def _reason(error: SQLAlchemyError) -> str:
    return why_unavailable(error) or type(error).__name__
