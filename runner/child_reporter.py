"""The child's way of saying things to its supervisor without ever waiting for it."""

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
# The most of held back output that is told at once, in characters; the newest.
_GLIMPSES_LENGTH = 64 * 1024


class _Wake(Enum):
    # Something passes that is told by and by.
    PASSING = "passing"
    # There will be no more.
    CLOSED = "closed"


class ReportSender:
    """Writes reports from a thread of its own.

    A slow reader must not hold up the playbook: ansible-runner loses the result of a run whose event handler is slow.
    The queue is bounded by what is put in (BoundedText). A reader that is gone is not an error here; the leash sees it.

    Of passing things (progress, glimpses) the newest is sent now and then, after all that was sent before.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[bytes | _Wake] = SimpleQueue()
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._glimpses: deque[OutputPreview] = deque()
        self._glimpses_length = 0
        self._told_at = -_PASSING_EVERY_S
        self._thread = threading.Thread(target=self._write_all, name="reports", daemon=True)
        self._thread.start()

    def send(self, report: Report) -> None:
        """Queue `report`."""
        self._queue.put(encode(report))

    def show(self, progress: Progress) -> None:
        """Tell how far the playbook is, soon, unless it is further by then."""
        with self._lock:
            self._wake_for_passing()
            self._progress = progress

    def glimpse(self, at_bytes: int, text: str) -> None:
        """Tell some of the held back output, soon; of much the newest."""
        with self._lock:
            self._wake_for_passing()
            self._glimpses.append(OutputPreview(at_bytes=at_bytes, text=text))
            self._glimpses_length += len(text)
            while self._glimpses_length > _GLIMPSES_LENGTH:
                self._glimpses_length -= len(self._glimpses.popleft().text)

    def settle(self) -> None:
        """Queue the newest progress now; glimpses are forgotten, for the output itself comes."""
        with self._lock:
            progress, self._progress = self._progress, None
            self._glimpses.clear()
            self._glimpses_length = 0
        if progress is not None:
            self.send(progress)

    def close(self) -> None:
        """Wait until all is written, or the reader is gone."""
        self._queue.put(_Wake.CLOSED)
        self._thread.join()

    def _wake_for_passing(self) -> None:
        if self._progress is None and not self._glimpses:
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
                    due_at = self._told_at + _PASSING_EVERY_S
                else:
                    self._write(found)
        except OSError:
            return

    def _write_passing(self) -> None:
        with self._lock:
            passing: list[Report] = [*self._glimpses]
            self._glimpses.clear()
            self._glimpses_length = 0
            if self._progress is not None:
                passing.append(self._progress)
                self._progress = None
        for report in passing:
            self._write(encode(report))
        self._told_at = monotonic()

    def _write(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._descriptor, line) :]
