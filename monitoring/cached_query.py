"""A question at a scrape that may take long: asked in a thread, waited for a short while, its answer kept.

A scrape that waits for whoever does not answer is given up by Prometheus, and with it all that this process tells.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import Lock
from time import monotonic
from typing import Final, Generic, TypeVar

# Prometheus waits 10 s for all that a scrape asks.
_PATIENCE_S: Final = 3.0

T = TypeVar("T")


class Question(Generic[T]):
    """Asks by calling `ask`; an answer is good for `kept_s` seconds, so many scrapers cost no more than one.

    `name` is that of the thread, `clock` gives seconds that never jump.
    """

    def __init__(
        self, ask: Callable[[], T], *, name: str, kept_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._ask = ask
        self._kept_s = kept_s
        self._clock = clock
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._asked: Future[T] | None = None
        self._known: T | None = None
        self._asked_at = float("-inf")

    def answer(self) -> T | None:
        """Return the answer; None when asking fails or takes more than 3 s, and the next one asks again."""
        with self._lock:
            if self._known is not None and self._clock() - self._asked_at < self._kept_s:
                return self._known
            # An answer that did not come in time is still waited for: one question at a time.
            if self._asked is None:
                self._asked = self._thread.submit(self._ask)
            try:
                self._known = self._asked.result(_PATIENCE_S)
            except FutureTimeoutError:
                if not self._asked.done():
                    return None
                # What the question itself raised.
                self._known = None
            except Exception:  # noqa: BLE001 - whatever is wrong, a scrape goes on
                self._known = None
            self._asked = None
            self._asked_at = self._clock()
            return self._known

    def close(self) -> None:
        """Ask no more. Repeating it does nothing."""
        self._thread.shutdown(wait=False, cancel_futures=True)
