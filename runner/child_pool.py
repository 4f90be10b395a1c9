"""Keeps child processes ready, so that a run need not wait for Python and ansible-runner to load."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context

from runner.child_process import ChildProcess

_log = logging.getLogger(__name__)

# A new warm child loads only after the run that took the last one has begun, in seconds.
REFILL_DELAY_S = 1.0

# Longest time in which a warm child ends after it was asked to, in seconds.
_LEAVE_S = 5.0


class ChildPool:
    """Hands out children, warm ones first, and keeps all of them under watch.

    Lives in the event loop; nothing of it is thread-safe.
    """

    def __init__(
        self,
        spawn: Callable[[], Awaitable[ChildProcess]],
        *,
        warm: int,
        ping_every_s: float,
        refill_delay_s: float = REFILL_DELAY_S,
    ) -> None:
        self._spawn = spawn
        self._warm_target = warm
        self._ping_every_s = ping_every_s
        self._refill_delay_s = refill_delay_s
        self._warm: list[ChildProcess] = []
        self._living: set[ChildProcess] = set()
        self._refilling: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to ping and to warm children up."""
        self._pinging = asyncio.create_task(self._ping())
        self._refill(0.0)

    async def take(self) -> ChildProcess:
        """Return a child that waits for its job; give it back by `dispose`.

        Raises:
            OSError: None could be started.
        """
        child = next((child for child in self._warm if child.exit_code is None), None)
        if child is None:
            child = await self._spawn_one()
        else:
            self._warm.remove(child)
        self._refill(self._refill_delay_s)
        return child

    async def dispose(self, child: ChildProcess, *, wait_s: float) -> None:
        """Make sure that nothing of `child` is left; see ChildProcess.dispose."""
        try:
            await child.dispose(wait_s=wait_s)
        finally:
            self._living.discard(child)

    async def close(self) -> None:
        """End the warm children and wait for them. Children handed out must have been disposed of."""
        for task in filter(None, (self._refilling, self._pinging)):
            task.cancel()
        await asyncio.gather(*filter(None, (self._refilling, self._pinging)), return_exceptions=True)
        leaving = list(self._living)
        for child in leaving:
            child.close_orders()
        ends = await asyncio.gather(*(self.dispose(c, wait_s=_LEAVE_S) for c in leaving), return_exceptions=True)
        for error in filter(None, ends):
            _log.error("a warm child process did not end", exc_info=error)
        self._warm.clear()

    async def _spawn_one(self) -> ChildProcess:
        child = await self._spawn()
        self._living.add(child)
        return child

    def _refill(self, delay_s: float) -> None:
        if self._refilling is None or self._refilling.done():
            # An empty context: the new child belongs to no run, though a run that took one asks for it.
            self._refilling = asyncio.create_task(self._warm_up(delay_s), context=Context())

    async def _warm_up(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for child in [child for child in self._warm if child.exit_code is not None]:
            self._warm.remove(child)
            await self.dispose(child, wait_s=0.0)
        try:
            while len(self._warm) < self._warm_target:
                self._warm.append(await self._spawn_one())
        except OSError as error:
            # Not fatal: the next run starts a child of its own, and reports the trouble if it lasts.
            _log.warning("could not warm up a child process: %s", error)

    async def _ping(self) -> None:
        while True:
            for child in self._living:
                child.ping()
            await asyncio.sleep(self._ping_every_s)
