"""Answers of the API to reads, at rest and while strategies run flat out, against the goals (P7).

Run it with `make bench`, or alone: `python -m tests.bench.reads`. API, coordinator and worker are processes over a
RabbitMQ and a PostgreSQL of its own, or with `--embedded` one process over SQLite, on as many cores as the machine has;
one client asks, one request after another. CPU is that of the process with the API, the client's is not in it; with
`--embedded` the work of the strategies is.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isqrt
from threading import Event
from time import perf_counter
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

from db.schema import problems, runs, steps, strategies
from tests.bench.goals import CONSOLE, Goal, judge, percentile, show_machine
from tests.bench.measured_installation import (
    DISTRIBUTED,
    EMBEDDED,
    MeasuredInstallation,
    measured_installation,
    site_name,
)

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
_FAILED: Final = "problems of a strategy that failed at all sites"
_SERIES: Final = "time series of a strategy of four hours"
_SERIES_S: Final = 4 * 3600.0
_PHASES: Final = ("prestage-precheck", "prestaging-packages", "prestaging-images")
_PHASE: Final = timedelta(minutes=2)
# Causes of its failures.
_CAUSES: Final = 200
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
    parser.add_argument("--embedded", action="store_true", help="one process over SQLite")
    parser.add_argument("--polled", action="store_true", help="only what a page asks for again and again")
    chosen = parser.parse_args(arguments)
    show_machine()
    kind = EMBEDDED if chosen.embedded else DISTRIBUTED
    return judge(measure(chosen.sites, chosen.requests, kind, is_whole=not chosen.polled))


def measure(sites: int, requests: int, kind: str = DISTRIBUTED, *, is_whole: bool = True) -> Iterator[Goal]:
    """Measure reads of a strategy of `sites` sites, at least `requests` of each kind at rest and under load.

    Without `is_whole` only those that a page repeats.
    """
    width = min(WIDTH, sites)
    with measured_installation(kind) as installation:
        installation.add_sites(sites)
        failed = _fail_everywhere(installation, width)
        installation.create_strategy(width)
        past = f"/v1.0/strategies/{failed}"
        polled = {**_POLLED, _FAILED: f"{past}/problems", _SERIES: f"{past}/series"}
        whole = {_LIST: f"{_STRATEGY}/steps", _ONE: f"{_STRATEGY}/steps/{site_name(sites // 2)}"}
        paths = whole | polled if is_whole else polled
        # The first requests build what later ones find ready.
        _measure(installation, paths, 3, lambda: None)
        at_rest = _measure(installation, paths, requests, lambda: None)
        installation.ask("DELETE", _STRATEGY)
        with _strategies(installation, width) as running:
            loaded = _measure(installation, paths, requests, lambda: _raise_fault(running))
    for name in paths:
        quiet, busy = at_rest[name], loaded[name]
        CONSOLE.print(f"       {name} of {sites:,}, at rest: {quiet}")
        CONSOLE.print(f"       {name} of {sites:,}, loaded: {busy}")
        if name in polled:
            median = percentile(busy.times_ms, 50)
            yield Goal(name=f"GET p50 loaded, {name} of {sites:,}", measured=median, limit=_POLLED_MS, unit="ms")
            continue
        p99 = percentile(busy.times_ms, 99)
        CONSOLE.print(f"       {name}: p99 loaded {p99 / percentile(quiet.times_ms, 99):.1f} x of p99 at rest")
        yield Goal(name=f"GET p99 loaded, {name} of {sites:,}", measured=p99, limit=_LIMITS_MS[name], unit="ms")


def _fail_everywhere(installation: MeasuredInstallation, width: int) -> int:
    """Leave a past strategy whose steps failed for many causes, as rows, and return its id.

    Each step has a run of each of three phases; the steps began one after another.
    """
    installation.create_strategy(width)
    failed = int(installation.find(_STRATEGY)["id"])
    installation.ask("DELETE", _STRATEGY)
    causes = [f"{number:012x}" for number in range(_CAUSES)]
    with installation.database.write() as connection:
        about = {"phase": "prestaging-packages", "failure_class": "space", "task": "Check room", "text": "no room"}
        connection.execute(insert(problems), [{"strategy_id": failed, "id": one, **about} for one in causes])
        query = select(steps.c.id).where(steps.c.strategy_id == failed).order_by(steps.c.id)
        ids = connection.execute(query).scalars().all()
        end = datetime.now(UTC)
        begin = end - timedelta(seconds=_SERIES_S)
        begins = [begin + timedelta(seconds=_SERIES_S * 0.9 * place / len(ids)) for place in range(len(ids))]
        values = {"state": "failed", "outcome": "failed", "failure_class": "space", "details": "no room"}
        of_one = update(steps).where(steps.c.id == bindparam("failed"))
        moments = {"started_at": bindparam("begin"), "finished_at": bindparam("end")}
        change = of_one.values(**values, problem=bindparam("cause"), **moments)
        rows = [
            {"failed": one, "cause": causes[isqrt(place) % _CAUSES], "begin": at, "end": at + 3 * _PHASE}
            for place, (one, at) in enumerate(zip(ids, begins, strict=True))
        ]
        connection.execute(change, rows)
        of_strategy = update(strategies).where(strategies.c.id == failed)
        connection.execute(of_strategy.values(applied_at=begin, finished_at=end))
        connection.execute(insert(runs), [_run(row, place) for row in rows for place in range(3)])
    return failed


def _run(step: Mapping[str, Any], place: int) -> dict[str, Any]:
    begin = step["begin"] + place * _PHASE
    return {
        "step_id": step["failed"],
        "phase": _PHASES[place],
        "attempt": 1,
        "state": "finished",
        "outcome": "succeeded",
        "details": "",
        "facts": {},
        "dispatched_at": begin.timestamp(),
        "cancel_requested": False,
        "consumed": True,
        "started_at": begin,
        "finished_at": begin + _PHASE,
    }


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
