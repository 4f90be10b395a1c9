"""Goals of benchmarks: a figure and its limit in one line each, and the exit status that follows from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from rich.console import Console

# Of all benchmarks, so that their lines are as wide in a file as on a screen.
CONSOLE: Final = Console(width=120, highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure that must not be above its limit; both are in `unit`."""

    name: str
    measured: float
    limit: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the figure is within the limit; one that is not a number is not."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        """Return one line for people."""
        sign = "met   " if self.is_met else "MISSED"
        return f"{sign} {self.name}: {self.measured:.3g} {self.unit} (goal: at most {self.limit:g})"


def show_machine() -> None:
    """Print the number of cores and the load, which say what seconds are worth."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    CONSOLE.print(f"{os.cpu_count()} cores, load {load}: above 1 only CPU and ratios of one run count")


def judge(goals: Iterable[Goal]) -> int:
    """Print each goal as soon as it is measured, then how many are met; return 0 if all are, else 1."""
    met = []
    for goal in goals:
        CONSOLE.print(str(goal))
        met.append(goal.is_met)
    CONSOLE.print(f"{sum(met)} of {len(met)} goals met")
    return 0 if all(met) else 1


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` percent of them do not exceed.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, ceil(len(values) * share / 100) - 1)]
