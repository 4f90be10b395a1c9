"""The child's way of saying things to its supervisor without ever waiting for it."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue

from runner.child_protocol import Report, encode


class Reporter:
    """Writes reports from a thread of its own.

    A slow reader must not hold up the playbook: ansible-runner loses the result of a run whose event handler is slow.
    The queue is bounded by what is put in (BoundedText). A reader that is gone is not an error here; the leash sees it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="reports", daemon=True)
        self._thread.start()

    def send(self, report: Report) -> None:
        """Queue `report`."""
        self._queue.put(encode(report))

    def close(self) -> None:
        """Wait until all is written, or nobody reads any more."""
        self._queue.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        try:
            while (line := self._queue.get()) is not None:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError:
            return
