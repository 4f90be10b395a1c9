"""Reports of a process to its starter, by systemd's protocol or a file: that it is ready, lives and stops."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    import asyncio

_log = structlog.get_logger(__name__)

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
# Seconds between two signs of life; a supervisor waits for several.
BEAT_S: Final = 10.0


class ReadinessReporter:
    """Reports the state of this process to its supervisor. Errors are logged and change nothing else.

    Args:
        file: Exists while the service is ready; None: no such file. What a killed predecessor left is removed.

        environment: Where systemd says how it listens; it is taken out, for it is meant for this process alone.
    """

    def __init__(self, file: Path | None, environment: MutableMapping[str, str] = os.environ) -> None:
        self._socket = environment.pop(SOCKET_VARIABLE, "")
        self.use_file(file)

    def use_file(self, file: Path | None) -> None:
        """Report by a file from now on, or by none."""
        self._file = file
        self._remove_file()

    async def report_until(self, stop: asyncio.Event) -> None:
        """Report that the service is ready and then, every `BEAT_S`, that it lives; after `stop`, that it stops."""
        # A process that only looks after others has no event loop.
        import asyncio  # noqa: PLC0415

        self.report_ready()
        while not stop.is_set():
            self.report_life(is_ready=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_S)
        self.report_stop()

    def report_ready(self) -> None:
        """Report that the service is ready."""
        self._notify("READY=1")

    def report_life(self, *, is_ready: bool) -> None:
        """Report that this process lives; the file is renewed, or removed while the service is not ready."""
        if is_ready:
            self._touch_file()
        else:
            self._remove_file()
        self._notify("WATCHDOG=1")

    def report_stop(self) -> None:
        """Report that the service stops."""
        self._notify("STOPPING=1")
        self._remove_file()

    def _touch_file(self) -> None:
        if self._file is None:
            return
        try:
            self._file.touch(mode=0o644)
        except OSError as error:
            _log.warning("readiness.not-told", file=str(self._file), fault=error.strerror)

    def _remove_file(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def _notify(self, message: str) -> None:
        if not self._socket:
            return
        # A name that begins with @ is in the abstract namespace, which the kernel spells with a zero byte.
        address = "\0" + self._socket[1:] if self._socket.startswith("@") else self._socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as link:
                link.sendto(message.encode(), address)
        except OSError as error:
            _log.warning("readiness.not-told", socket=self._socket, fault=error.strerror)
