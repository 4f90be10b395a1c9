"""Sends the reports of a child to its supervisor without ever waiting for it."""

from __future__ import annotations

import os
import threading
from collections import deque
from enum import Enum
from queue import Empty, SimpleQueue
from time import monotonic

from runner.progress import Progress
from runner.protocol import OutputPreview, Report, encode

# Pause between two reports of what passes, in seconds: a playbook that prints for hours costs its supervisor little.
_PASSING_EVERY_S = 0.5
# The most of held back output that is sent at once, in characters; the newest.
_PREVIEWS_LENGTH = 64 * 1024


class _Wake(Enum):
    # There is something passing, to be sent soon.
    PASSING = "passing"
    # There will be no more.
    CLOSED = "closed"


class ReportSender:
    """Writes reports from a thread of its own.

    A slow reader must not hold up the playbook: ansible-runner loses the result of a run whose event handler is slow.
    The queue is bounded by its input (BoundedText). A reader that is gone is no error here; the watchdog sees it.

    Of passing things (progress, previews) the newest is sent now and then, after all that was sent before.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[bytes | _Wake] = SimpleQueue()
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._previews: deque[OutputPreview] = deque()
        self._previews_length = 0
        self._sent_at = -_PASSING_EVERY_S
        self._thread = threading.Thread(target=self._write_all, name="reports", daemon=True)
        self._thread.start()

    def send(self, report: Report) -> None:
        """Queue `report`."""
        self._queue.put(encode(report))

    def show(self, progress: Progress) -> None:
        """Send the progress of the playbook, soon, unless it is further by then."""
        with self._lock:
            self._wake_for_passing()
            self._progress = progress

    def preview(self, at_bytes: int, text: str) -> None:
        """Send some of the held back output, soon; of much the newest."""
        with self._lock:
            self._wake_for_passing()
            self._previews.append(OutputPreview(at_bytes=at_bytes, text=text))
            self._previews_length += len(text)
            while self._previews_length > _PREVIEWS_LENGTH:
                self._previews_length -= len(self._previews.popleft().text)

    def settle(self) -> None:
        """Queue the newest progress now; previews are forgotten, for the output itself comes."""
        with self._lock:
            progress, self._progress = self._progress, None
            self._previews.clear()
            self._previews_length = 0
        if progress is not None:
            self.send(progress)

    def close(self) -> None:
        """Wait until all is written, or the reader is gone."""
        self._queue.put(_Wake.CLOSED)
        self._thread.join()

    def _wake_for_passing(self) -> None:
        if self._progress is None and not self._previews:
            self._queue.put(_Wake.PASSING)

    def _write_all(self) -> None:
        due_at: float | None = None
        try:
            while True:
                try:
                    found = self._queue.get(timeout=None if due_at is None else max(0.0, due_at - monotonic()))
                except Empty:
                    due_at = None
                    self._write_passing()
                    continue
                if found is _Wake.CLOSED:
                    return
                if found is _Wake.PASSING:
                    due_at = self._sent_at + _PASSING_EVERY_S
                else:
                    self._write(found)
        except OSError:
            return

    def _write_passing(self) -> None:
        with self._lock:
            passing: list[Report] = [*self._previews]
            self._previews.clear()
            self._previews_length = 0
            if self._progress is not None:
                passing.append(self._progress)
                self._progress = None
        for report in passing:
            self._write(encode(report))
        self._sent_at = monotonic()

    def _write(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._descriptor, line) :]
