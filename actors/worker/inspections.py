"""Inspections of sites that are going on in this process: many at once, in one event loop in a thread of its own.

A thread each would cap them at the few threads of the actors, and a site may take a minute to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, Final, TypeVar

_STOP_S: Final = 5.0
_FAREWELL_S: Final = 0.5

T = TypeVar("T")


class Inspections:
    """At most `most` at once; the thread starts with the first one."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._lock = Lock()
        self._going_on: dict[int, Future[Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None

    @property
    def free(self) -> int:
        """Number of free places now."""
        return self._free

    def reserve(self) -> bool:
        """Take a place; False when there is none. Each place is given back by `release`."""
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    def release(self) -> None:
        """Give a place back."""
        with self._lock:
            self._free += 1

    def begin(self, run_id: int, work: Coroutine[Any, Any, T], on_end: Callable[[Future[T]], None]) -> None:
        """Start an inspection on a place that was reserved; `on_end` is called in the loop's thread and must be quick.

        It is called once, with a cancelled future when the inspection was stopped.
        """

        def ended(future: Future[T]) -> None:
            with self._lock:
                self._going_on.pop(run_id, None)
            on_end(future)

        with self._lock:
            future = asyncio.run_coroutine_threadsafe(work, self._started_loop())
            self._going_on[run_id] = future
        # Outside the lock: it is called at once when the work has ended already.
        future.add_done_callback(ended)

    def cancel(self, run_id: int) -> None:
        """Stop the inspection of a run; one that is not going on is ignored."""
        with self._lock:
            future = self._going_on.get(run_id)
        if future is not None:
            future.cancel()

    def stop(self) -> None:
        """Stop all inspections and the thread. Repeating it does nothing."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
            going_on = [*self._going_on.values()]
        for future in going_on:
            future.cancel()
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_all_ended(was_cut_off=bool(going_on)), loop).result(_STOP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_S)
        loop.close()

    def _started_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._loop.run_forever, name="inspections", daemon=True)
            self._thread.start()
        return self._loop


async def _all_ended(*, was_cut_off: bool) -> None:
    """Wait until every connection of the inspections is closed; some that were cut off may have ended already."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    if others or was_cut_off:
        # TLS connections that are dropped say so to the other side before they let go of their sockets.
        await asyncio.sleep(_FAREWELL_S)
