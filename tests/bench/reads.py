"""Answers of the API to reads, at rest and while a strategy runs flat out, against the goals (P7).

Run it with `make bench`, or alone: `python -m tests.bench.reads`. API, coordinator and worker are processes over a
RabbitMQ and a PostgreSQL of its own, on as many cores as the machine has; one client asks, one request after another.
CPU is that of the process with the API, the client's is not in it.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from rich.console import Console

from tests.bench.measured_installation import DISTRIBUTED, MeasuredInstallation, measured_installation, site_name
from tests.bench.orchestration import Goal

SITES: Final = 1000
WIDTH: Final = 50
# Requests of each kind at rest; under load there are as many as the strategy lasts for.
REQUESTS: Final = 200
_STEPS: Final = "/v1.0/sw-update-strategy/steps"
_LIST: Final = f"list of {SITES:,} steps"
_ONE: Final = "one step"
_PATHS: Final[Mapping[str, str]] = {_LIST: _STEPS, _ONE: f"{_STEPS}/{site_name(SITES // 2)}"}
_LIMITS_MS: Final[Mapping[str, float]] = {_LIST: 100, _ONE: 40}

_console: Final = Console(width=120, highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class ReadTimes:
    """Times of one kind of request, in milliseconds, and the CPU of the API for each."""

    times_ms: list[float]
    cpu_ms: float

    def percentile(self, share: int) -> float:
        """Return the time that `share` percent of the requests did not exceed."""
        return statistics.quantiles(self.times_ms, n=100)[share - 1]


def main() -> int:
    """Measure, print each goal, and return the exit status."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    _console.print(f"{os.cpu_count()} cores, load {load}: above 1 only CPU and ratios of one run count")
    goals = [*_goals()]
    for goal in goals:
        _console.print(str(goal))
    return 0 if all(goal.is_met for goal in goals) else 1


def _goals() -> Iterator[Goal]:
    with measured_installation(DISTRIBUTED) as installation:
        installation.add_sites(SITES)
        # The first requests build what later ones find ready.
        installation.run_strategy(WIDTH)
        installation.create_strategy(WIDTH)
        at_rest = _measure(installation, lambda asked: asked < REQUESTS)
        installation.ask("DELETE", "/v1.0/sw-update-strategy")
        with ThreadPoolExecutor(1) as thread:
            strategy = thread.submit(installation.run_strategy, WIDTH)
            loaded = _measure(installation, lambda _: not strategy.done())
            strategy.result()
    for name, limit in _LIMITS_MS.items():
        _show(name, "at rest", at_rest[name])
        _show(name, "loaded", loaded[name])
        ratio = loaded[name].percentile(99) / at_rest[name].percentile(99)
        _console.print(f"       {name}: p99 loaded {ratio:.1f} x of p99 at rest")
        yield Goal(name=f"GET p99 loaded, {name}", measured=loaded[name].percentile(99), limit=limit, unit="ms")


def _measure(installation: MeasuredInstallation, goes_on: Callable[[int], bool]) -> dict[str, ReadTimes]:
    """Ask in turn as long as `goes_on` says of the number of rounds."""
    times: dict[str, list[float]] = {name: [] for name in _PATHS}
    cpu = dict.fromkeys(times, 0.0)
    asked = 0
    while goes_on(asked):
        for name, taken in times.items():
            began, used = perf_counter(), installation.api_cpu_s()
            try:
                installation.ask("GET", _PATHS[name])
            except SystemExit:
                # The strategy is not there yet, or no longer.
                continue
            taken.append((perf_counter() - began) * 1000)
            cpu[name] += installation.api_cpu_s() - used
        asked += 1
    return {name: ReadTimes(times_ms=times[name], cpu_ms=cpu[name] * 1000 / len(times[name])) for name in times}


def _show(name: str, when: str, one: ReadTimes) -> None:
    _console.print(
        f"       {name}, {when}: p50 {one.percentile(50):.1f}, p99 {one.percentile(99):.1f} ms,"
        f" {one.cpu_ms:.1f} ms of CPU, {len(one.times_ms)} requests"
    )


if __name__ == "__main__":
    sys.exit(main())
