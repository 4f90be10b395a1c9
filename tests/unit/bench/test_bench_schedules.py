"""Ideal schedules that benchmarks compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, stdev

import pytest

from tests.bench.schedules import barrier_s, draw_durations, longest_first_s, lower_bound_s, sliding_window_s

Schedule = Callable[[Sequence[float], int], float]
ALL = (barrier_s, sliding_window_s, longest_first_s, lower_bound_s)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # Stages of 1 and 5, 2 and 4, 3.
        (barrier_s, 5 + 4 + 3),
        # The place of 1 takes 2 and 4, that of 5 takes 3.
        (sliding_window_s, 8),
        # 5, 2 and 1; 4 and 3.
        (longest_first_s, 8),
        (lower_bound_s, 7.5),
    ],
)
def test_a_schedule_of_five_sites(schedule: Schedule, expected: float) -> None:
    """Each schedule has the time that one finds by hand."""
    assert schedule([1, 5, 2, 4, 3], 2) == expected


@pytest.mark.parametrize("schedule", ALL)
def test_one_place_takes_the_sum(schedule: Schedule) -> None:
    """With one place every schedule takes the sum of all durations."""
    assert schedule([1.5, 2.5, 4.0], 1) == 8.0


@pytest.mark.parametrize("schedule", ALL)
def test_a_place_for_each_takes_the_longest(schedule: Schedule) -> None:
    """With a place for each site every schedule takes as long as the longest, more places than sites included."""
    assert schedule([1.5, 2.5, 4.0], 3) == schedule([1.5, 2.5, 4.0], 9) == 4.0


@pytest.mark.parametrize("seed", range(20))
def test_schedules_are_ordered(seed: int) -> None:
    """A sliding window is never slower than the barrier, and no schedule is faster than the lower bound."""
    durations = draw_durations(120, mean_s=2.0, variation=0.5, seed=seed)

    assert lower_bound_s(durations, 20) <= longest_first_s(durations, 20)
    assert lower_bound_s(durations, 20) <= sliding_window_s(durations, 20) <= barrier_s(durations, 20)


def test_draws_have_the_mean_and_the_variation() -> None:
    """Durations are positive and have the mean and the coefficient of variation that are asked for."""
    durations = draw_durations(20_000, mean_s=2.0, variation=0.5, seed=1)

    assert min(durations) > 0
    assert fmean(durations) == pytest.approx(2.0, rel=0.02)
    assert stdev(durations) / fmean(durations) == pytest.approx(0.5, rel=0.04)


def test_a_seed_repeats_its_draws() -> None:
    """The same seed gives the same durations, another one others."""
    first = draw_durations(5, mean_s=2.0, variation=0.5, seed=1)

    assert draw_durations(5, mean_s=2.0, variation=0.5, seed=1) == first
    assert draw_durations(5, mean_s=2.0, variation=0.5, seed=2) != first
