"""Ideal schedules of durations that are known: what a strategy would take if orchestration took no time.

Pure functions. `durations` are the seconds of each site in the order in which a strategy takes them, `width` is how
many sites are worked on at once. A result is the time from the first start to the last end, in seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from random import Random


def draw_durations(count: int, *, mean_s: float, variation: float, seed: int) -> list[float]:
    """Return log-normal durations; `variation` is the standard deviation by the mean. A seed repeats them."""
    spread = math.sqrt(math.log(1 + variation**2))
    location = math.log(mean_s) - spread**2 / 2
    source = Random(seed)
    return [source.lognormvariate(location, spread) for _ in range(count)]


def barrier_s(durations: Sequence[float], width: int) -> float:
    """Return the time of stages of `width` sites, each of which begins when all of the stage before have ended."""
    return sum(max(durations[first : first + width]) for first in range(0, len(durations), width))


def sliding_window_s(durations: Sequence[float], width: int) -> float:
    """Return the time when each site begins, in order, as soon as one of `width` places is free."""
    free_at = [0.0] * width
    for duration in durations:
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def longest_first_s(durations: Sequence[float], width: int) -> float:
    """Return the time of a sliding window that takes the sites by their durations, the longest first."""
    return sliding_window_s(sorted(durations, reverse=True), width)


def lower_bound_s(durations: Sequence[float], width: int) -> float:
    """Return the time that no order can go below: that of the longest site, or of all places busy to the end."""
    return max(*durations, sum(durations) / width)
