"""Wait for a condition with a deadline; no test sleeps for a time that it hopes to be enough."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

# To look takes time that what is waited for may need: a twentieth of the wait so far, within these bounds.
_SHORTEST_S, _LONGEST_S = 0.02, 0.25

T = TypeVar("T")


def wait_for(condition: Callable[[], T], deadline_s: float = 60.0, story: Callable[[], str] = lambda: "") -> T:
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
