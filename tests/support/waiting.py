"""Wait for a condition with a deadline; no test sleeps for a time that it hopes to be enough."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Final, TypeVar

# Longest wait for what comes early on a quiet machine, in seconds: one that is ten times as slow has time enough. Where
# lateness is a fault, a test gives its own limit.
PATIENCE_S: Final = 120.0
# How many times as long as promised something may take in a run of all tests, on a machine that is busy with them.
BUSY_FACTOR: Final = 5.0
# To look takes time that what is waited for may need: a twentieth of the wait so far, within these bounds.
_SHORTEST_S, _LONGEST_S = 0.02, 0.25

T = TypeVar("T")


def wait_for(condition: Callable[[], T], deadline_s: float = PATIENCE_S, story: Callable[[], str] = lambda: "") -> T:
    """Return the first truthy value of `condition`.

    Raises:
        AssertionError: There is none at the deadline; `story` tells more.
    """
    begin, pause = monotonic(), Event()
    while not (value := condition()):
        waited_s = monotonic() - begin
        assert waited_s < deadline_s, f"not within {deadline_s} s\n{story()}"
        pause.wait(min(max(_SHORTEST_S, waited_s / 20), _LONGEST_S))
    return value
