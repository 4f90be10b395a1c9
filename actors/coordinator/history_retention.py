"""Delete history by age, unless the clock may be wrong: then everything is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import structlog

from db.database import Database
from db.retention import Retention, clock_doubt, purge

_log = structlog.get_logger(__name__)

# Pause between two looks for history that is too old, and the time after a start in which nothing is deleted, in
# seconds: a wrong clock is noticed, or set by NTP, meanwhile.
PURGE_S: Final = 3600.0
_FIRST_S: Final = 3600.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class HistoryRetention:
    """Deletes what `kept` says is too old, from an hour after it was made; `clock` gives seconds that never jump."""

    def __init__(
        self,
        database: Database,
        kept: Retention,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._database = database
        self._kept = kept
        self._clock = clock
        self._now = now
        self._made_at = clock()
        self._doubt: str | None = None

    def purge(self) -> None:
        """Delete what is too old; nothing in the first hour, and nothing while the clock is doubtful.

        Raises:
            DatabaseUnavailableError: The database is away; a later call deletes the rest.
        """
        if self._clock() - self._made_at < _FIRST_S:
            return
        now = self._now()
        if self._is_doubtful(now):
            return
        count = purge(self._database, self._kept, now)
        if count:
            _log.info("history.purged", rows=count)

    def _is_doubtful(self, now: datetime) -> bool:
        doubt = clock_doubt(self._database, now)
        if doubt is not None and doubt != self._doubt:
            _log.warning(
                "history.kept", now=now.isoformat(), reason=doubt, advice="If the clock is right nothing need be done."
            )
        self._doubt = doubt
        return doubt is not None
