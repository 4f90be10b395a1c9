"""Answers of the API to reads, at rest and while strategies run flat out, against the goals (P7).

Run it with `make bench`, or alone: `python -m tests.bench.reads`. API, coordinator and worker are processes over a
RabbitMQ and a PostgreSQL of its own, on as many cores as the machine has; one client asks, one request after another.
CPU is that of the process with the API, the client's is not in it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from time import perf_counter
from typing import Final

from tests.bench.goals import CONSOLE, Goal, judge, percentile, show_machine
from tests.bench.measured_installation import DISTRIBUTED, MeasuredInstallation, measured_installation, site_name

SITES: Final = 1000
WIDTH: Final = 50
# Requests of each kind, at rest and loaded.
REQUESTS: Final = 300
_STRATEGY: Final = "/v1.0/sw-update-strategy"
_LIST: Final = "list of steps"
_ONE: Final = "one step"
_LIMITS_MS: Final[Mapping[str, float]] = {_LIST: 100, _ONE: 40}
# What a page asks for again and again, at any number of sites; goals for the median, in milliseconds.
_POLLED: Final[Mapping[str, str]] = {
    "strategy with progress": _STRATEGY,
    "100 steps": f"{_STRATEGY}/steps?limit=100",
    "problems": f"{_STRATEGY}/problems",
}
_POLLED_MS: Final = 30.0


@dataclass(kw_only=True)
class ReadTimes:
    """Times of one kind of request in milliseconds, and the CPU of the API for all of them in seconds."""

    times_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def __str__(self) -> str:
        """Return the figures for people."""
        return (
            f"p50 {percentile(self.times_ms, 50):.1f}, p99 {percentile(self.times_ms, 99):.1f} ms,"
            f" {self.cpu_s * 1000 / len(self.times_ms):.1f} ms of CPU, {len(self.times_ms)} requests"
        )


def main(arguments: list[str]) -> int:
    """Measure, print each goal, and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.bench.reads", description="Measure reads at rest and under load.")
    parser.add_argument("--sites", type=int, default=SITES, help="sites of the strategy (%(default)s)")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="requests of each kind (%(default)s)")
    chosen = parser.parse_args(arguments)
    show_machine()
    return judge(measure(chosen.sites, chosen.requests))


def measure(sites: int, requests: int) -> Iterator[Goal]:
    """Measure reads of a strategy of `sites` sites, at least `requests` of each kind at rest and under load."""
    width = min(WIDTH, sites)
    with measured_installation(DISTRIBUTED) as installation:
        installation.add_sites(sites)
        # The first requests build what later ones find ready.
        installation.run_strategy(width)
        installation.create_strategy(width)
        paths = {_LIST: f"{_STRATEGY}/steps", _ONE: f"{_STRATEGY}/steps/{site_name(sites // 2)}", **_POLLED}
        at_rest = _measure(installation, paths, requests, lambda: None)
        installation.ask("DELETE", _STRATEGY)
        with _strategies(installation, width) as running:
            loaded = _measure(installation, paths, requests, lambda: _raise_fault(running))
    for name in paths:
        quiet, busy = at_rest[name], loaded[name]
        CONSOLE.print(f"       {name} of {sites:,}, at rest: {quiet}")
        CONSOLE.print(f"       {name} of {sites:,}, loaded: {busy}")
        if name in _POLLED:
            median = percentile(busy.times_ms, 50)
            yield Goal(name=f"GET p50 loaded, {name} of {sites:,}", measured=median, limit=_POLLED_MS, unit="ms")
            continue
        p99 = percentile(busy.times_ms, 99)
        CONSOLE.print(f"       {name}: p99 loaded {p99 / percentile(quiet.times_ms, 99):.1f} x of p99 at rest")
        yield Goal(name=f"GET p99 loaded, {name} of {sites:,}", measured=p99, limit=_LIMITS_MS[name], unit="ms")


@contextmanager
def _strategies(installation: MeasuredInstallation, width: int) -> Iterator[Future[None]]:
    """Run strategies one after another, so that a short one does not end before enough was asked."""
    is_over = Event()

    def run() -> None:
        while not is_over.is_set():
            installation.run_strategy(width)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run)
        try:
            yield running
        finally:
            is_over.set()
        running.result()


def _raise_fault(running: Future[None]) -> None:
    """Raise what ended the load, for without it nothing is measured."""
    if running.done():
        running.result()


def _measure(
    installation: MeasuredInstallation, paths: Mapping[str, str], requests: int, check: Callable[[], None]
) -> dict[str, ReadTimes]:
    """Ask for all paths in turn until each was answered `requests` times."""
    found = {name: ReadTimes() for name in paths}
    while min(len(one.times_ms) for one in found.values()) < requests:
        check()
        for name, path in paths.items():
            began, used = perf_counter(), installation.api_cpu_s()
            answer = installation.find(path)
            # Between two strategies there is none to read: no step, and a list without any.
            if answer is not None and answer.get("strategy-steps") != []:
                found[name].times_ms.append((perf_counter() - began) * 1000)
                found[name].cpu_s += installation.api_cpu_s() - used
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
