"""The thread that sends: an event loop of its own, so that neither callers of the API nor commands wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from service.periodic_thread import Loop
from webhooks.sender import WebhookSender

# Pause before a sender that broke is made anew, in seconds; only a bug breaks it.
_RETRY_S: Final = 1.0


class WebhookSenderThread:
    """Sends from `start` to `stop`, once each; `make` makes the sender, on the thread's own event loop."""

    def __init__(self, make: Callable[[], WebhookSender]) -> None:
        self._make = make
        self._thread = Loop("webhooks", lambda: asyncio.run(self._send()), _RETRY_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._is_stopping = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def drain(self) -> None:
        """Begin nothing more, and finish or let go of what is in hand, without anybody waiting for it."""
        self._is_stopping = True
        if self._loop is not None:
            # Its end may have come meanwhile.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        """Drain, and wait for it. Repeating it does nothing."""
        self.drain()
        self._thread.stop()

    async def _send(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not self._is_stopping:
            await self._make().run(self._stop)
