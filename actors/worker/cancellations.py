"""Cancellations of runs by an operator, as this process knows them.

A cancel may come at any moment of a run: while it is claimed, while the site's key is read, between the claim and the
start of the playbook. Each of these looks here, so that none starts what was cancelled.
"""

from __future__ import annotations

from threading import Lock


class Cancellations:
    """Runs of one worker process that are to be cancelled. Callable from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Seconds between TERM and KILL, by run.
        self._grace_s: dict[int, float] = {}

    def add(self, run_id: int, grace_s: float) -> None:
        """Remember that a run is to be cancelled; repeating it changes nothing."""
        with self._lock:
            self._grace_s.setdefault(run_id, grace_s)

    def grace_s(self, run_id: int) -> float | None:
        """Return the seconds between TERM and KILL of a run that is to be cancelled; None: it is not."""
        with self._lock:
            return self._grace_s.get(run_id)

    def forget(self, run_id: int) -> None:
        """Forget a run that has ended; repeating it does nothing."""
        with self._lock:
            self._grace_s.pop(run_id, None)
