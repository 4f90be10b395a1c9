"""Calibration of forecasts: held to the true ends of simulated fleets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from random import Random
from typing import Final

import pytest

from statemachine.forecast import BegunSite, RunTime, StageLeft, WorkLeft, forecast

PHASES: Final = ("precheck", "packages", "images")
FLEETS: Final = 200


@dataclass(frozen=True)
class SiteRuns:
    """Runs of one site: its stage, and begin, end and success of each run."""

    stage: int
    runs: tuple[tuple[str, float, float, bool], ...]

    @property
    def ended(self) -> float:
        """Moment of its end."""
        return self.runs[-1][2]


class Fleet:
    """A strategy from its begin to its end: log-normal durations, failures, and a pause of its starts."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.width = random.randint(4, 40)
        self.one_by_one = random.random() < 0.4
        stages = random.randint(2, 5) if self.one_by_one else 1
        self.counts = [random.randint(60, 400) // stages for _ in range(stages)]
        self.medians = {"precheck": 5.0, "packages": random.uniform(60, 400), "images": random.uniform(100, 900)}
        self.sigma = random.uniform(0.2, 0.7)
        self.failing = random.uniform(0.0, 0.12)
        total_s = sum(self.counts) * sum(self.medians.values()) / self.width
        self.pause = (0.1 * total_s, 0.1 * total_s + random.choice((0.0, 0.1)) * total_s)
        self.soak = random.choice((0.0, 600.0)) if self.one_by_one else 0.0
        self.sites = self._run()
        self.end = max(site.ended for site in self.sites)

    def _run(self) -> list[SiteRuns]:
        found: list[SiteRuns] = []
        begin = 0.0
        for stage, count in enumerate(self.counts):
            free = [begin] * min(self.width, count)
            heapify(free)
            for _ in range(count):
                start = free[0]
                if self.pause[0] <= start < self.pause[1]:
                    start = self.pause[1]
                site = SiteRuns(stage, tuple(self._runs(start)))
                heapreplace(free, site.ended)
                found.append(site)
            begin = max(free) + self.soak
        return found

    def _runs(self, start: float) -> list[tuple[str, float, float, bool]]:
        found: list[tuple[str, float, float, bool]] = []
        for phase in PHASES:
            end = start + self.medians[phase] * self.random.lognormvariate(0, self.sigma)
            succeeded = self.random.random() >= self.failing
            found.append((phase, start, end, succeeded))
            if not succeeded:
                break
            start = end
        return found

    def moment(self, share: float) -> float:
        """Return when this share of the sites has ended."""
        return sorted(site.ended for site in self.sites)[int(share * len(self.sites))]

    def left(self, now: float) -> tuple[WorkLeft, Mapping[str, list[RunTime]]]:
        """Return what an observer knows at a moment."""
        ended: dict[str, list[tuple[float, RunTime]]] = {phase: [] for phase in PHASES}
        waiting = [0] * len(self.counts)
        begun: list[list[BegunSite]] = [[] for _ in self.counts]
        for site in self.sites:
            if site.runs[0][1] > now:
                waiting[site.stage] += 1
            for phase, start, end, succeeded in site.runs:
                if end <= now:
                    ended[phase].append((end, RunTime(seconds=end - start, goes_on=succeeded)))
                elif start <= now:
                    begun[site.stage].append(BegunSite(phase=phase, age_s=now - start))
        passed = max((site.stage for site in self.sites if site.runs[0][1] <= now), default=0)
        stages = []
        for stage, count in enumerate(waiting):
            pause = self.soak if stage > passed else 0.0
            if count or begun[stage]:
                stages.append(StageLeft(not_started=count, begun=tuple(begun[stage]), width=self.width, pause_s=pause))
        durations = {phase: [run for _, run in sorted(runs, key=lambda one: -one[0])] for phase, runs in ended.items()}
        return WorkLeft(phases=PHASES, stages=tuple(stages), one_by_one=self.one_by_one), durations


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_forecasts_are_calibrated(share: float) -> None:
    """Of 200 fleets, 80 ± 5 % end between p10 and p90, and 10 ± 5 % before and after, a quarter ended or three."""
    before = after = 0
    for seed in range(FLEETS):
        fleet = Fleet(seed)
        now = fleet.moment(share)
        found = forecast(*fleet.left(now))
        before += fleet.end - now < found.p10_s
        after += fleet.end - now > found.p90_s
    assert 0.75 * FLEETS <= FLEETS - before - after <= 0.85 * FLEETS
    assert 0.05 * FLEETS <= before <= 0.15 * FLEETS
    assert 0.05 * FLEETS <= after <= 0.15 * FLEETS
