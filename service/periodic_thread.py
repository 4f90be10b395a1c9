"""Threads of a process: one that repeats its work, and one that sends webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import structlog

from db.errors import DatabaseUnavailableError
from service.lifecycle import Part

if TYPE_CHECKING:
    from webhooks.sender import WebhookSender

_log = structlog.get_logger(__name__)

# Seconds after which a thread looks by itself should a wake be missed.
LOOK_S: Final = 5.0
_STOP_S: Final = 30.0
# Pause after work that failed, in seconds.
_RETRY_S: Final = 1.0


# Threads that were started and not stopped: the liveness check of this process reads them.
_running: Final[WeakSet[PeriodicThread]] = WeakSet()
# Pause before a sender that broke is made anew, in seconds; only a bug breaks it.
_SENDER_RETRY_S: Final = 1.0


def dead_threads() -> list[str]:
    """Return the names of threads that ended without being stopped; only a bug ends one."""
    return sorted(thread.name for thread in [*_running] if not thread.is_alive)


class PeriodicThread:
    """A thread that calls `work` after every `wake`, and when `interval_s` seconds have passed without one.

    A wake during the work makes it run once more. An exception is logged, and the work is tried again a second later.
    """

    def __init__(self, name: str, work: Callable[[], object], interval_s: float) -> None:
        self.name = name
        self._work = work
        self._interval_s = interval_s
        self._woken = Event()
        self._stopping = False
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; the work runs once at once."""
        self._woken.set()
        self._thread.start()
        _running.add(self)

    @property
    def is_alive(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Have the work run soon; callable from any thread."""
        self._woken.set()

    def stop(self, *, join: bool = True) -> None:
        """Stop after the work in progress, and unless `join` is false wait for its end. Repeating it does nothing."""
        self._stopping = True
        _running.discard(self)
        self._woken.set()
        if join and self._thread.is_alive():
            self._thread.join(_STOP_S)

    def part(self) -> Part:
        """Return this thread as a part of a process."""
        return Part(name=self.name, start=self.start, stop=self.stop)

    def _run(self) -> None:
        failures = 0
        while True:
            self._woken.wait(min(self._interval_s, _RETRY_S) if failures else self._interval_s)
            self._woken.clear()
            if self._stopping:
                return
            try:
                self._work()
                failures = 0
            except Exception as error:  # noqa: BLE001 - the top of a thread
                failures += 1
                self._tell_failure(error, failures)

    def _tell_failure(self, error: Exception, failures: int) -> None:
        if failures > 1:
            _log.warning("loop.still-failing", loop=self.name, failures=failures, fault=type(error).__name__)
        elif isinstance(error, DatabaseUnavailableError):
            # Nothing that a traceback would explain.
            _log.warning("loop.failed", loop=self.name, reason=str(error))
        else:
            _log.error("loop.failed", loop=self.name, exc_info=error)


class WebhookSenderThread:
    """Sends from `start` to `stop`, once each; `make` makes the sender, on the thread's own event loop."""

    def __init__(self, make: Callable[[], WebhookSender]) -> None:
        self._make = make
        self._thread = PeriodicThread("webhooks", lambda: asyncio.run(self._send()), _SENDER_RETRY_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._is_stopping = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def drain(self) -> None:
        """Begin no more tries, and finish or cancel those in hand; returns at once."""
        self._is_stopping = True
        if self._loop is not None:
            # Its end may have come meanwhile.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        """Drain, and wait for the end. Repeating it does nothing."""
        self.drain()
        self._thread.stop()

    def part(self) -> Part:
        """Return this thread as a part of a process.

        It is drained with the playbooks: without answers of receivers its end takes seconds.
        """
        return Part(name="webhooks", start=self.start, drain=self.drain, stop=self.stop)

    async def _send(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not self._is_stopping:
            await self._make().run(self._stop)
