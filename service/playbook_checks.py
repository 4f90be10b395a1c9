"""Background check of the playbooks of one worker: what changes is logged and reported.

While the set cannot be loaded the worker starts no playbook, and its runs wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from runner.playbook_readiness import PlaybookReadiness
from service.periodic_thread import PeriodicThread

_log = structlog.get_logger(__name__)

# Seconds between two looks at the files; a playbook that is to be started looks by itself.
_CHECK_S: Final = 30.0


class PlaybookChecks:
    """Checks one set again and again in a thread of its own; `start` and `stop` once each.

    `changed` is called when another error is found than before, or none any more.
    """

    def __init__(self, readiness: PlaybookReadiness, changed: Callable[[], None]) -> None:
        self._readiness = readiness
        self._changed = changed
        # Of the last check; None: none was made.
        self._error: str | None = None
        self._loop = PeriodicThread("playbook-check", self.check, _CHECK_S)
        readiness.wanted = self._loop.wake

    def start(self) -> None:
        """Begin to check, at once and then every `_CHECK_S` seconds."""
        self._loop.start()

    def stop(self) -> None:
        """End, and with it a check that goes on; its end is not waited for."""
        self._loop.stop(join=False)
        self._readiness.stop()

    def check(self) -> None:
        """Check the set, and tell what runs wait for or that they go on."""
        was_obstructed = self._readiness.obstacle() is not None
        has_changed = self._readiness.check()
        error = self._readiness.error
        if has_changed and error:
            _log.error("playbooks.broken", reason=error, advice="No playbook is started until this is mended.")
        elif self._error and not error:
            _log.info("playbooks.load-again")
        self._error = error
        if has_changed or was_obstructed:
            self._changed()
