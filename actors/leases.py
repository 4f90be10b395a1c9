"""Keep the leases of this worker's runs, and let go of runs that are no longer its own."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog

from db.engine import Database
from db.runs import renew

_log = structlog.get_logger(__name__)

# Seconds between two renewals; a lease lasts 45.
RENEWAL_S: Final = 10.0
# Seconds without a successful renewal after which the worker stops its own runs, well before the lease ends.
_GIVE_UP_S: Final = 30.0


class Leases:
    """Renews all leases of one worker process in one statement.

    `cancel(run_id, reason)` stops a run, `held()` gives the ids of the runs that this process believes to hold.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        held: Callable[[], frozenset[int]],
        cancel: Callable[[int, str], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._owner = owner
        self._held = held
        self._cancel = cancel
        self._clock = clock
        self._renewed_at = clock()

    def renew(self) -> None:
        """Renew; stop what was taken away or cancelled, and everything when the store is out of reach for too long."""
        believed = self._held()
        try:
            with self._database.write() as connection:
                renewal = renew(connection, self._owner)
        except Exception:
            if self._clock() - self._renewed_at > _GIVE_UP_S:
                self._stop(believed, "its lease could not be renewed")
            raise
        self._renewed_at = self._clock()
        self._stop(believed - renewal.held, "it was taken from this worker")
        self._stop(renewal.cancelled, "it was cancelled")

    def _stop(self, run_ids: frozenset[int], reason: str) -> None:
        for run_id in run_ids:
            _log.warning("run.stopped", run=run_id, reason=reason)
            self._cancel(run_id, reason)
