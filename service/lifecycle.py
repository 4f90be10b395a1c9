"""Start the parts of a process in order and stop them in reverse."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import structlog

_log = structlog.get_logger(__name__)


def freeze_heap() -> None:
    """Exempt all objects of the start from garbage collection; to be called once, when the parts are started.

    A full collection looks at every object, with all threads stopped: 60 ms and more for the modules and settings of a
    process, which live as long as it does.
    """
    gc.collect()
    gc.freeze()


def nothing() -> None:
    """Do nothing; for parts that need no start, drain or stop."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a process.

    Attributes:
        name: For the log.

        start: Called once; what it raises ends the start of the process.

        drain: Takes no new work and returns soon. Called at most once, after `start`, before any part is stopped.

        stop: Called at most once, after `start` and after all parts were drained. A part whose `start` raised is not
            stopped.
    """

    name: str
    start: Callable[[], object] = nothing
    drain: Callable[[], object] = nothing
    stop: Callable[[], object] = nothing


class Lifecycle:
    """Starts parts in order; drains, then stops them in reverse. `start` is called once."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self._started: list[Part] = []

    def start(self) -> None:
        """Start all parts. When one fails, those before it are stopped and its error is raised."""
        try:
            for part in self.parts:
                part.start()
                self._started.append(part)
        except BaseException:
            self._stop_after_failure()
            raise

    def stop(self) -> None:
        """Drain the parts that were started, then stop them, both in reverse.

        A part that fails keeps no other from its stop; the last error is raised after all. Repeating it, or stopping
        before a start, does nothing.
        """
        started, self._started = self._started, []
        # Calls back in reverse.
        with ExitStack() as end:
            for part in started:
                end.callback(part.stop)
            for part in started:
                end.callback(part.drain)

    def _stop_after_failure(self) -> None:
        try:
            self.stop()
        except Exception:  # noqa: BLE001 - the caller gets the error of the start
            _log.exception("service.not-stopped")
