"""How many dead letters each queue has, asked of the broker seldom: they should be none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from time import monotonic
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_KEPT_S: Final = 60.0


class DeadLetters(Collector):
    """Gauges of the dead letters; `counts` asks the broker and raises when it is away."""

    def __init__(self, counts: Callable[[], Mapping[str, int | None]], clock: Callable[[], float] = monotonic) -> None:
        self._counts = counts
        self._clock = clock
        self._lock = Lock()
        self._known: Mapping[str, int | None] | None = None
        self._asked_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: the registry would ask the broker at the start."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; none while the broker is away."""
        known = self._look()
        up = GaugeMetricFamily("prestager_broker_up", "Whether the broker answered when it was asked last.")
        up.add_metric((), 0.0 if known is None else 1.0)
        yield up
        letters = GaugeMetricFamily("prestager_dead_letters", "Messages nobody could deal with.", labels=("queue",))
        for queue, count in (known or {}).items():
            if count is not None:
                letters.add_metric((queue,), float(count))
        yield letters

    def _look(self) -> Mapping[str, int | None] | None:
        with self._lock:
            if self._clock() - self._asked_at >= _KEPT_S:
                try:
                    self._known = self._counts()
                except Exception:  # noqa: BLE001 - whatever is wrong, a scrape goes on
                    self._known = None
                self._asked_at = self._clock()
            return self._known
