"""Signal readiness, liveness and stop to the process's starter, by systemd's protocol or a file.

Two ways: systemd's notifications, where systemd asks for them, and a file that exists while the service is ready and
whose time is renewed, for scripts. Used by `service.process`; without either nothing is reported.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

_SOCKET: Final = "NOTIFY_SOCKET"
# Seconds between two signs of life; who watches for them should wait for several.
BEAT_S: Final = 10.0


class Readiness:
    """Reports the state of this process to its supervisor. Errors are logged and change nothing else.

    Args:
        file: Exists while the service is ready; None: no such file. What a killed predecessor left is removed.

        environment: Where systemd says how it listens; it is taken out, for it is meant for this process alone.
    """

    def __init__(self, file: Path | None, environment: MutableMapping[str, str] = os.environ) -> None:
        self._file = file
        self._socket = environment.pop(_SOCKET, "")
        self._remove_file()

    async def tell_until_stopped(self, stop: asyncio.Event) -> None:
        """Say that the service is ready and then, every `BEAT_S`, that it lives; at the end, that it stops."""
        self._notify("READY=1")
        while not stop.is_set():
            self._touch_file()
            self._notify("WATCHDOG=1")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_S)
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
