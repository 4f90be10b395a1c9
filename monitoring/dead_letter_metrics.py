"""Number of dead letters in each queue, read from the broker seldom.

A scrape never waits long and never fails: while the broker is away the gauges are missing and `prestager_broker_up`
is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.cached_query import Question

_KEPT_S: Final = 60.0


class DeadLetters(Collector):
    """Gauges of the dead letters; `counts` asks the broker and raises when it is away."""

    def __init__(self, counts: Callable[[], Mapping[str, int | None]], clock: Callable[[], float] = monotonic) -> None:
        self._question = Question(counts, name="dead-letters", kept_s=_KEPT_S, clock=clock)

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: the registry would ask the broker at the start."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; none while the broker is away."""
        known = self._question.answer()
        up = GaugeMetricFamily("prestager_broker_up", "Whether the broker answered when it was asked last.")
        up.add_metric((), 0.0 if known is None else 1.0)
        yield up
        letters = GaugeMetricFamily("prestager_dead_letters", "Messages nobody could deal with.", labels=("queue",))
        for queue, count in (known or {}).items():
            if count is not None:
                letters.add_metric((queue,), float(count))
        yield letters

    def close(self) -> None:
        """Ask no more. Repeating it does nothing."""
        self._question.close()
