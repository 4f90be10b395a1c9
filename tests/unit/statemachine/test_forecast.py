"""Forecast of the end of a strategy, from what is left of it and the durations of ended runs."""

from __future__ import annotations

from time import process_time
from typing import Final

import pytest

from statemachine.forecast import BegunSite, RunTime, StageLeft, WorkLeft, forecast, phases_left

PHASES: Final = ("precheck", "packages", "images")


def test_a_forecast_is_repeatable_and_costs_the_same_for_any_fleet() -> None:
    """The same rows give the same forecast; one of 5,000 sites costs at most three times one of 300."""
    runs = [RunTime(seconds=100.0 + 7 * (number % 30), goes_on=number % 25 > 0) for number in range(200)]
    durations = dict.fromkeys(PHASES, runs)

    def cost_s(sites: int) -> float:
        stages = (StageLeft(not_started=sites, begun=(BegunSite(phase="images", age_s=50.0),) * 100, width=100),)
        work = WorkLeft(phases=PHASES, stages=stages)
        assert forecast(work, durations) == forecast(work, durations)
        times = []
        for _ in range(3):
            begin = process_time()
            forecast(work, durations)
            times.append(process_time() - begin)
        return min(times)

    assert cost_s(5000) < 3 * cost_s(300)


def test_a_failed_site_ends_early() -> None:
    """The end comes sooner with half of the sites failing in the first phase."""
    stages = (StageLeft(not_started=1000, width=10),)
    work = WorkLeft(phases=("packages", "images"), stages=stages)
    images = [RunTime(seconds=100.0)] * 10
    all_go_on = forecast(work, {"packages": [RunTime(seconds=100.0)] * 10, "images": images})
    half = [RunTime(seconds=100.0, goes_on=number % 2 == 0) for number in range(10)]
    some_fail = forecast(work, {"packages": half, "images": images})
    assert 0.95 * 20_000 < all_go_on.p50_s < 1.05 * 20_000
    assert some_fail.p90_s < all_go_on.p10_s


def test_stages_follow_each_other_after_their_pause() -> None:
    """A stage begins after the end of the one before and its soak time, and 2,500 stages take 2,500 durations."""
    durations = {"packages": [RunTime(seconds=100.0)] * 10}
    soaked = (StageLeft(not_started=2), StageLeft(not_started=2, pause_s=600.0))
    found = forecast(WorkLeft(phases=("packages",), stages=soaked, one_by_one=True), durations)
    assert 790 < found.p50_s < 810
    many = (StageLeft(not_started=2),) * 2500
    found = forecast(WorkLeft(phases=("packages",), stages=many, one_by_one=True), durations)
    assert 0.95 * 250_000 < found.p50_s < 1.05 * 250_000


def test_a_phase_without_runs_has_no_forecast() -> None:
    """The phases that are left are those that need ended runs."""
    stages = (StageLeft(not_started=0, begun=(BegunSite(phase="packages"),)),)
    work = WorkLeft(phases=PHASES, stages=stages)
    assert phases_left(work) == {"packages", "images"}
    with pytest.raises(KeyError):
        forecast(work, {"packages": [RunTime(seconds=1.0)] * 5})
