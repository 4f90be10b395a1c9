"""A bound of the tries to log in, by address and name."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import Final

# Tries of one address and name within a minute.
MOST_TRIES: Final = 10
_WITHIN_S: Final = 60.0
# Addresses and names that are remembered; the oldest one is forgotten for a new one.
_MOST_KEYS: Final = 10_000


class LoginTries:
    """Counts the tries to log in of one process.

    Args:
        clock: Monotonic time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def wait_s(self, address: str, name: str) -> float:
        """Count a try and return 0; where there were too many, return the seconds until the next one is taken."""
        now = self._clock()
        times = self._times.setdefault((address, name), deque())
        self._times.move_to_end((address, name))
        while len(self._times) > _MOST_KEYS:
            self._times.popitem(last=False)
        while times and times[0] <= now - _WITHIN_S:
            times.popleft()
        if len(times) >= MOST_TRIES:
            return times[0] + _WITHIN_S - now
        times.append(now)
        return 0.0

    def forgive(self, address: str, name: str) -> None:
        """Let the last try not count, for it was right: who shares an address with many is not kept out by them."""
        times = self._times.get((address, name))
        if times:
            times.pop()
