"""What orchestration costs beside the playbooks, against the goals: playbooks only take time, everything else is real.

Run all with `make bench`, or some: `python -m tests.bench.orchestration --only p3 p4`. It starts a RabbitMQ and a
PostgreSQL of its own, asks nothing outside loopback and stops by itself. The exit status says whether every goal is
met. CPU is user and system time of each process and its children.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from rich.console import Console

from tests.bench.measured_installation import DISTRIBUTED, StrategyCost, measured_installation

SITES: Final = 1000
# Width of a strategy: how many sites at once.
WIDE: Final = 500
NARROW: Final = 50

_console: Final = Console(width=120, highlight=False)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure that must not be above its limit."""

    name: str
    measured: float
    limit: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        """Return one line for people."""
        sign = "met   " if self.is_met else "MISSED"
        return f"{sign} {self.name}: {self.measured:.3g} {self.unit} (goal: at most {self.limit:g})"


def main(arguments: list[str]) -> int:
    """Measure what is asked for, print each goal, and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.bench.orchestration", description="Measure the orchestration.")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), help="what to measure")
    chosen = parser.parse_args(arguments).only
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    _console.print(f"{os.cpu_count()} cores, load {load}: above 1 only CPU and ratios of one run count")
    goals = [goal for name in chosen for goal in _told(name)]
    _console.print(f"{sum(goal.is_met for goal in goals)} of {len(goals)} goals met")
    return 0 if all(goal.is_met for goal in goals) else 1


def _told(name: str) -> Iterator[Goal]:
    _console.rule(name.upper(), align="left")
    for goal in MEASUREMENTS[name]():
        _console.print(str(goal))
        yield goal


def _no_op_wall() -> Iterable[Goal]:
    """P3: a strategy whose playbooks do nothing, from apply to its end."""
    for width, limit in ((WIDE, 12.0), (NARROW, 15.0)):
        cost = _no_op_cost(width)
        yield Goal(name=f"{SITES:,} sites, {width} at once, {DISTRIBUTED}", measured=cost.wall_s, limit=limit, unit="s")


def _cpu() -> Iterable[Goal]:
    """P4: CPU of all processes per transition."""
    for width, limit in ((WIDE, 3.5), (NARROW, 4.5)):
        cost = _no_op_cost(width)
        _show_cpu(cost)
        yield Goal(
            name=f"CPU per transition, {SITES:,} sites, {width} at once, {DISTRIBUTED}",
            measured=cost.total_cpu_ms,
            limit=limit,
            unit="ms",
        )


@cache
def _no_op_cost(width: int) -> StrategyCost:
    with measured_installation(DISTRIBUTED) as installation:
        installation.add_sites(SITES)
        return installation.run_strategy(width)


def _show_cpu(cost: StrategyCost) -> None:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in cost.cpu_ms.items())
    _console.print(f"       {cost.width} at once, ms per transition: {parts}; {cost.wall_s:.1f} s")


MEASUREMENTS: Final[Mapping[str, Callable[[], Iterable[Goal]]]] = {"p3": _no_op_wall, "p4": _cpu}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
