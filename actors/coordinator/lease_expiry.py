"""Expiry of leases: a passed lease counts only after it stood unchanged for a while on this process's own clock.

A jump of the wall clock makes every lease look passed at once; a living worker renews it within seconds, a dead one
does not. So a run is taken away only when its passed lease was seen, and seen again unchanged later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from time import monotonic
from typing import Final

from statemachine.actions import Action, ExpireRun

# Longer than a worker's pause between two renewals.
_PATIENCE_S: Final = 12.0


class LeaseExpiry:
    """Remembers passed leases; `clock` gives seconds that never jump, `patience_s` how long one must stand."""

    def __init__(self, clock: Callable[[], float] = monotonic, patience_s: float = _PATIENCE_S) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._lock = Lock()
        self._first_seen: dict[tuple[int, float], float] = {}

    def confirmed(self, actions: Iterable[Action]) -> list[Action]:
        """Return the actions without those that expire a lease seen passed too recently."""
        now = self._clock()
        kept: list[Action] = []
        with self._lock:
            for action in actions:
                if isinstance(action, ExpireRun):
                    key = (action.run_id, action.lease_until)
                    if now - self._first_seen.setdefault(key, now) < self._patience_s:
                        continue
                    self._first_seen.pop(key)
                kept.append(action)
            self._forget_before(now - 10 * self._patience_s)
        return kept

    def _forget_before(self, moment: float) -> None:
        self._first_seen = {key: seen for key, seen in self._first_seen.items() if seen > moment}
