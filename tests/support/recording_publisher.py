"""A publisher that keeps what it is given; a test decides when messages are confirmed, or that they are not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from messages.queues import Call


class RecordingPublisher:
    """Confirms messages at once, unless `confirms` is false: then `answer` does.

    Attributes:
        calls: Messages of each `publish`, in order.

        error: What the next ones end with; None: they are confirmed.
    """

    def __init__(self, *, confirms: bool = True) -> None:
        self.calls: list[list[Call]] = []
        self.error: Exception | None = None
        self._confirms = confirms
        self._open: list[Future[None]] = []

    @property
    def published(self) -> list[Call]:
        """All messages so far."""
        return [call for calls in self.calls for call in calls]

    def publish(self, calls: Sequence[Call]) -> Future[None]:
        """Keep messages; the future ends at once, or with `answer`."""
        future: Future[None] = Future()
        self._open.append(future)
        self.calls.append([*calls])
        if self._confirms:
            self.answer()
        return future

    def answer(self) -> None:
        """End all futures that are open."""
        answered, self._open = self._open, []
        for future in answered:
            if self.error is None:
                future.set_result(None)
            else:
                future.set_exception(self.error)
