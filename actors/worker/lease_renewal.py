"""Renew the leases of this worker's runs, stop runs that it lost, cancel those that are to be cancelled.

Runs that no part of the worker works on are given up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Final

import structlog

from actors.metrics import Metrics, NullMetrics
from actors.worker.run_context import UNKNOWN, RunContext
from db.database import Database
from db.runs import renew

_log = structlog.get_logger(__name__)

# Seconds between two renewals; a lease lasts 40.
RENEWAL_S: Final = 10.0
# Seconds between two looks at the time since the last renewal.
WATCH_S: Final = 2.0
# Seconds without a renewal after which the worker stops its own runs, well before the lease ends.
_GIVE_UP_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class LeasedRuns:
    """Questions and orders of the lease renewal to the worker; all callable from any thread."""

    # Ids of the runs that this process works on.
    held: Callable[[], frozenset[int]]
    # Ids of the runs that have ended here and whose reports wait to be written, or whose end is under way.
    pending: Callable[[], frozenset[int]]
    # Stops a run that this worker loses, for a reason.
    stop_run: Callable[[int, str], None]
    # Cancels a run for an operator, with so many seconds between TERM and KILL.
    cancel: Callable[[int, float], None]
    # Reports a run that is ours by the database and that no part of this process works on.
    give_up: Callable[[int], None]
    # Whether a claim is under way, so that the database may know more runs of ours than this process.
    is_claiming: Callable[[], bool] = lambda: False
    # When the claim of a run was asked for, by the clock of the leases; None: not known.
    claimed_at: Callable[[int], float | None] = lambda _: None
    # What log lines say of a run.
    context: Callable[[int], RunContext] = lambda _: UNKNOWN
    metrics: Metrics = field(default_factory=NullMetrics)


class Leases:
    """Renews all leases of one worker process in one statement; `clock` gives seconds that never jump."""

    def __init__(
        self, database: Database, owner: str, runs: LeasedRuns, clock: Callable[[], float] = monotonic
    ) -> None:
        self._database = database
        self._owner = owner
        self._runs = runs
        self._clock = clock
        # When the last renewal was asked for, and what it renewed.
        self._renewed = (clock(), frozenset[int]())
        self._lock = Lock()
        # Runs that were stopped and have not ended yet.
        self._stopped: frozenset[int] = frozenset()
        # Runs that were cancelled and had not ended at the last renewal.
        self._cancelled: frozenset[int] = frozenset()
        # Runs that no part worked on at the last renewal.
        self._strays: frozenset[int] = frozenset()

    def renew(self) -> None:
        """Renew; stop runs that were taken away or cancelled, and give up runs that no part works on.

        The leases count from before the question: its answer may take long, and the lease runs meanwhile.
        """
        asked_at = self._clock()
        believed = self._runs.held()
        with self._database.write() as connection:
            renewal = renew(connection, self._owner)
        self._renewed = (asked_at, renewal.held)
        # A run that ended meanwhile was not taken away, and one that was just claimed is no stray.
        self._lose((believed - renewal.held) & self._runs.held(), "it was taken from this worker")
        self._cancel(renewal.cancelled)
        self._give_up_strays(renewal.held)

    def watch(self) -> None:
        """Stop the runs whose last renewal, or claim, was asked for too long ago; never waits for the database."""
        now, (renewed_at, renewed) = self._clock(), self._renewed
        late = {one for one in self._runs.held() if now - self._leased_at(one, renewed_at, renewed) > _GIVE_UP_S}
        if late:
            self._lose(frozenset(late), "its lease could not be renewed")

    def _leased_at(self, run_id: int, renewed_at: float, renewed: frozenset[int]) -> float:
        # A claim may take long to be answered, and renewals meanwhile do not know of it.
        claimed_at = None if run_id in renewed else self._runs.claimed_at(run_id)
        return renewed_at if claimed_at is None else claimed_at

    def _give_up_strays(self, ours: frozenset[int]) -> None:
        """Report runs that are ours by the database and that no part worked on at two renewals in a row.

        Such a run comes of a claim whose commit arrived and whose answer did not.
        """
        if self._runs.is_claiming():
            # One that goes on may find them.
            self._strays = frozenset()
            return
        strays = ours - self._runs.held() - self._runs.pending()
        for run_id in strays & self._strays:
            _log.warning("run.nobodys", run=run_id)
            self._runs.give_up(run_id)
        self._strays = strays

    def _cancel(self, cancelled: Mapping[int, float]) -> None:
        """Cancel runs, those that were cancelled before too: one that was just claimed had nothing yet to stop."""
        for run_id, grace_s in cancelled.items():
            with self._runs.context(run_id).bound():
                if run_id not in self._cancelled:
                    _log.info("run.cancelled", run=run_id, grace_s=grace_s)
                self._runs.cancel(run_id, grace_s)
        self._cancelled = frozenset(cancelled)

    def _lose(self, run_ids: frozenset[int], reason: str) -> None:
        for _ in self._stop(run_ids, reason):
            self._runs.metrics.lease_lost()

    def _stop(self, run_ids: frozenset[int], reason: str) -> frozenset[int]:
        """Stop runs; tell of those that were not stopped before, and return them: a playbook takes a while to end.

        Those that were are stopped once more: one that was just claimed had nothing yet to stop.
        """
        # Two threads come here.
        with self._lock:
            stopped = self._stopped & self._runs.held()
            new = run_ids - stopped
            self._stopped = stopped | new
        for run_id in run_ids:
            with self._runs.context(run_id).bound():
                if run_id in new:
                    _log.warning("run.stopped", run=run_id, reason=reason)
                self._runs.stop_run(run_id, reason)
        return new
