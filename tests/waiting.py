"""Wait for a condition with a deadline; no test sleeps for a time that it hopes to be enough."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

_PAUSE_S = 0.02

T = TypeVar("T")


def wait_for(condition: Callable[[], T], deadline_s: float = 60.0, story: Callable[[], str] = lambda: "") -> T:
    """Return the first truthy value of `condition`.

    Raises:
        AssertionError: There is none at the deadline; `story` tells more.
    """
    end, pause = monotonic() + deadline_s, Event()
    while not (value := condition()):
        assert monotonic() < end, f"not within {deadline_s} s\n{story()}"
        pause.wait(_PAUSE_S)
    return value
