"""What it costs to be watched: the strategy of `make bench` with everything that only serves watchers, and without it.

Run it with `make bench-watching`. Both ways run in turns, each in a process of its own; figures are whole-process CPU
(all threads, user and system) from apply to the end. What is counted as watching is told in docs/monitoring.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest

from actors.metrics import NullMetrics
from monitoring.logging import configure_logs
from monitoring.scrape_metrics import DatabaseMetrics
from service import wiring as installation
from tests.bench.fleet import measure
from tests.bench.goals import CONSOLE, Goal, judge

SITES: Final = 1000
WIDTH: Final = 500
PAIRS: Final = 8
GOAL: Final = 1.03
# Three times as often as our Prometheus asks.
SCRAPE_S: Final = 5.0


class NotWatched(NullMetrics):
    """In place of a process's counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def request_answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """Do nothing."""

    def watch_slots(self, total: int, free: Callable[[], int]) -> None:
        """Do nothing."""


def main(arguments: list[str]) -> int:
    """Measure all pairs, or one way in this process when it is named; return the exit status."""
    if arguments and arguments[0] in _WAYS:
        way, sites = arguments
        sys.stdout.write(f"{_WAYS[way](int(sites))}\n")
        return 0
    pairs, sites = (int(text) for text in (*arguments, PAIRS, SITES)[:2]) if arguments else (PAIRS, SITES)
    ratios = []
    for place in range(pairs):
        # The second of two may find a warmer machine.
        ways = ("watched", "alone") if place % 2 else ("alone", "watched")
        cpu_ms = {way: _in_own_process(way, sites) for way in ways}
        ratios.append(cpu_ms["watched"] / cpu_ms["alone"])
        CONSOLE.print(
            f"pair {place + 1}: {cpu_ms['alone']:.3f} ms of CPU per phase alone,"
            f" {cpu_ms['watched']:.3f} ms watched: {ratios[-1]:.3f}"
        )
    return _judge(ratios)


def _judge(ratios: list[float]) -> int:
    median = statistics.median(ratios)
    lower, _, upper = statistics.quantiles(ratios, n=4)
    CONSOLE.print(
        f"median {median:.3f}, half of the pairs between {lower:.3f} and {upper:.3f},"
        f" all between {min(ratios):.3f} and {max(ratios):.3f}"
    )
    return judge([Goal(name="CPU with log, metrics and scrapes", measured=median, limit=GOAL, unit="x")])


def _in_own_process(way: str, sites: int) -> float:
    command = [sys.executable, "-m", "tests.bench.watching", way, str(sites)]
    # Log lines are written as always, and read by nobody.
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return float(done.stdout.splitlines()[-1])


def _alone(sites: int) -> float:
    configure_logs("json", "warning")
    installation.ProcessMetrics = NotWatched  # type: ignore[misc,assignment]
    return measure(sites, WIDTH, 0).cpu_ms_per_phase


def _watched(sites: int) -> float:
    configure_logs("json", "info")
    return measure(sites, WIDTH, 0, _scraped).cpu_ms_per_phase


@contextmanager
def _scraped(service: installation.Installation) -> Iterator[None]:
    """Ask for the metrics again and again, as Prometheus does."""
    registry, facts, ended = service.metrics.registry, DatabaseMetrics(service.database), Event()
    registry.register(facts)

    def scrape() -> None:
        while not ended.wait(SCRAPE_S):
            generate_latest(registry)

    thread = Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        facts.close()


_WAYS: Final = {"alone": _alone, "watched": _watched}


if __name__ == "__main__":
    os.environ.pop("PRESTAGER_MONITOR_LISTEN", None)
    sys.exit(main(sys.argv[1:]))
