"""Forecast: when a strategy is likely to end, by a seeded simulation of what is left of it.

Each replication draws anew from the durations of ended runs, so that the range is wide while few runs have ended. The
sites in flight count as runs that take longer than they have taken so far; without them the quick ones, which end
first, would make the forecast too early. The work is bounded, however many sites there are: the middle of a long queue
is drawn as one sum, and of many places at once only some are followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappush, heapreplace
from math import ceil, erfc, exp, log, sqrt
from operator import mul
from random import Random
from statistics import NormalDist, fmean, pstdev
from typing import Final

# Fewest ended runs of a phase that its durations are drawn from.
FEWEST_RUNS: Final = 5
# Factors of the range before and after the middle: the true durations are less certain than the simulation takes them
# to be, and a long one makes the end later by more than a short one makes it earlier. Found by trial over 700 simulated
# fleets, and looked at with 500 others.
_EARLIER: Final = 0.97
_LATER: Final = 1.33
# Seed of every forecast: the same rows give the same answer.
_SEED: Final = 70
_REPLICATIONS: Final = 60
# Most ended runs of a phase that are drawn from, and durations of whole sites per replication.
_POOL: Final = 200
_TOTALS: Final = 120
# Most places that are followed one by one.
_PLACES: Final = 80
# Rounds of the queue at its end that are followed site by site.
_ROUNDS: Final = 3
# Spread of durations beyond the longest that was seen, as a factor's logarithm.
_BEYOND: Final = 0.4
# Silverman's rule of thumb for the width of a kernel, and the shortest duration that has a logarithm here.
_KERNEL: Final = 1.06
_SHORTEST_S: Final = 0.001
# Factors that are drawn once and used for all durations of a phase.
_FACTORS: Final = 101
# Rounds of the fit, its smallest deviation, the farthest value from its mean in deviations, and bounds of shares.
_FIT_ROUNDS: Final = 12
_SMALLEST_SPREAD: Final = 0.02
_FARTHEST: Final = 5.0
_UNHEARD_OF: Final = 1 - 1e-6
_SMALLEST_SHARE: Final = 1e-6
_STANDARD: Final = NormalDist()
_ROOT_OF_2: Final = sqrt(2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTime:
    """Duration of an ended run in seconds, and whether its site goes on to the next phase."""

    seconds: float
    goes_on: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class BegunSite:
    """A site in flight: its phase, and for how many seconds the run of that phase has gone on; 0: it waits."""

    phase: str
    age_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StageLeft:
    """Rest of one stage.

    Attributes:
        not_started: Sites that have not started.

        begun: Sites in flight.

        width: Most sites in flight, at least 1; None: all of them.

        pause_s: Seconds before it begins, as for a soak.
    """

    not_started: int
    begun: tuple[BegunSite, ...] = ()
    width: int | None = None
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkLeft:
    """Rest of a strategy.

    Attributes:
        phases: Phases that each site that has not started goes through.

        stages: Its stages in order.

        one_by_one: Whether a stage begins only when the one before has ended; else when its last site has started.

        ramp: Sites in flight that a slow start allows now; None: there is none.
    """

    phases: tuple[str, ...]
    stages: tuple[StageLeft, ...]
    one_by_one: bool = False
    ramp: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeLeft:
    """Seconds until the end that are exceeded in 90, 50 and 10 of 100 cases."""

    p10_s: float
    p50_s: float
    p90_s: float


def phases_left(work: WorkLeft) -> set[str]:
    """Return the phases that some site still has to go through."""
    found: set[str] = set()
    for stage in work.stages:
        found.update(work.phases if stage.not_started else ())
        for site in stage.begun:
            found.update((site.phase, *_after(work.phases, site.phase)))
    return found


def forecast(work: WorkLeft, durations: Mapping[str, Sequence[RunTime]], *, seed: int = _SEED) -> TimeLeft:
    """Return how long the rest of a strategy is likely to take.

    Args:
        work: What is left.

        durations: Ended runs by phase, the newest first; each phase of `phases_left` has at least one.

        seed: Of the random numbers.

    Raises:
        KeyError: A phase has no ended run.
    """
    random = Random(seed)  # noqa: S311 - a simulation
    left: dict[str, _Durations] = {}
    for phase in sorted(phases_left(work)):
        ages = [site.age_s for stage in work.stages for site in stage.begun if site.phase == phase and site.age_s > 0]
        left[phase] = _Durations(durations[phase][:_POOL], ages[:: 1 + len(ages) // _POOL], random)
    followed = _Followed(work)
    ends = sorted(_Replication(work, followed, left, random).end_s() for _ in range(_REPLICATIONS))
    middle = _quantile(ends, 0.5)
    return TimeLeft(
        p10_s=max(0.0, middle - _EARLIER * (middle - _quantile(ends, 0.1))),
        p50_s=middle,
        p90_s=middle + _LATER * (_quantile(ends, 0.9) - middle),
    )


def _after(phases: Sequence[str], phase: str) -> tuple[str, ...]:
    """Return the phases that follow one; those of work are all that follow a phase which sites share."""
    return tuple(phases[phases.index(phase) + 1 :]) if phase in phases else tuple(phases[1:])


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


# A run that is drawn: its seconds, those that others near it are spread around, and whether its site goes on.
_Drawn = tuple[float, float, bool]


class _Durations:
    """Durations of the runs of one phase: those that ended, and a log-normal fit that counts those in flight too.

    `ages` are the seconds for which runs in flight have gone on.
    """

    def __init__(self, pool: Sequence[RunTime], ages: Sequence[float], random: Random) -> None:
        self._random = random
        logarithms = [log(max(run.seconds, _SHORTEST_S)) for run in pool]
        middle, spread = fmean(logarithms), pstdev(logarithms)
        width = _KERNEL * spread * len(pool) ** -0.2
        self._shrunk = spread / sqrt(spread**2 + width**2) if spread else 1.0
        shift = middle * (1 - self._shrunk)
        # Longer and shorter ones than those that were seen are to come; the variance stays.
        self.factors = [exp(shift + random.gauss(0.0, width)) for _ in range(_FACTORS)]
        self.pool = [self.drawn(run.seconds, goes_on=run.goes_on) for run in pool]
        censored = [log(max(age, _SHORTEST_S)) for age in ages]
        self._fit = _fit(logarithms, censored)

    def drawn(self, seconds: float, *, goes_on: bool) -> _Drawn:
        """Return a run; a duration near it is its second number times one of `factors`."""
        return seconds, seconds**self._shrunk, goes_on

    def drawn_fit(self) -> tuple[float, float]:
        """Return mean and deviation of the logarithms by the fit, as uncertain as so few runs leave them."""
        count = len(self.pool)
        mean = self._random.gauss(self._fit.mean, self._fit.stdev / sqrt(count))
        return mean, self._fit.stdev * exp(self._random.gauss(0.0, sqrt(0.5 / count)))


def _fit(ended: Sequence[float], censored: Sequence[float]) -> NormalDist:
    """Return the normal distribution of values; `censored` ones are known to be greater only (EM algorithm)."""
    known = NormalDist(fmean(ended), max(pstdev(ended), _SMALLEST_SPREAD))
    if not censored:
        return known
    total, squares = sum(ended), sum(value**2 for value in ended)
    count = len(ended) + len(censored)
    for _ in range(_FIT_ROUNDS):
        mean = square = 0.0
        for value in censored:
            first, second = _above(known, value)
            mean += first
            square += second
        middle = (total + mean) / count
        variance = (squares + square) / count - middle**2
        known = NormalDist(middle, max(sqrt(max(variance, 0.0)), _SMALLEST_SPREAD))
    return known


def _above(normal: NormalDist, value: float) -> tuple[float, float]:
    """Return the mean of a normal variable that is greater than a value, and the mean of its square."""
    place = min((value - normal.mean) / normal.stdev, _FARTHEST)
    hazard = _STANDARD.pdf(place) / (1 - _STANDARD.cdf(place))
    mean = normal.mean + normal.stdev * hazard
    variance = normal.variance * (1 + place * hazard - hazard**2)
    return mean, mean**2 + max(variance, 0.0)


class _Followed:
    """Sites in flight that are followed, the same in each replication.

    Attributes:
        every: Of each so many one is followed.

        stages: Those of each stage, with the logarithm of their age.
    """

    def __init__(self, work: WorkLeft) -> None:
        self.every = max(1, ceil(sum(len(stage.begun) for stage in work.stages) / (2 * _PLACES)))
        self.stages = [
            [(site, log(max(site.age_s, _SHORTEST_S))) for site in stage.begun[:: self.every]] for stage in work.stages
        ]


class _Replication:
    """One course that the rest of a strategy may take."""

    def __init__(
        self,
        work: WorkLeft,
        followed: _Followed,
        durations: Mapping[str, _Durations],
        random: Random,
    ) -> None:
        self._durations = durations
        self._work = work
        self._random = random
        self._every = followed.every
        fits = {phase: one.drawn_fit() for phase, one in durations.items()}
        self._current = [
            [(site, self._longer_than(site, passed, *fits[site.phase])) for site, passed in sites]
            for sites in followed.stages
        ]
        self._drawn = self._draw_pools()
        self._totals = sorted(self._site_s(work.phases) for _ in range(_TOTALS)) if self._any_to_start() else []
        self._mean, self._variance = self._moments() if self._totals else (0.0, 0.0)

    def _any_to_start(self) -> bool:
        return any(stage.not_started for stage in self._work.stages)

    def _longer_than(self, site: BegunSite, age: float, mean: float, deviation: float) -> float:
        """Return a whole duration of the run that a site in flight is in; `age` and the fit are of logarithms."""
        # A run that waits may be of any duration.
        passed = 0.5 * erfc((mean - age) / (deviation * _ROOT_OF_2))
        if passed > _UNHEARD_OF:
            return site.age_s * exp(_BEYOND * self._random.expovariate(1.0))
        share = _SMALLEST_SHARE + (1 - 2 * _SMALLEST_SHARE) * self._random.random()
        return max(site.age_s, exp(mean + deviation * _STANDARD.inv_cdf(passed + (1 - passed) * share)))

    def _draw_pools(self) -> dict[str, list[_Drawn]]:
        """Return for each phase its runs drawn with repetition, those in flight among them."""
        running: dict[str, list[float]] = {phase: [] for phase in self._durations}
        for current in self._current:
            for site, seconds in current:
                if site.age_s > 0.0:
                    running[site.phase].append(seconds)
        drawn: dict[str, list[_Drawn]] = {}
        for phase, durations in self._durations.items():
            # Each goes on as often as those that have ended did.
            ends = self._random.choices(durations.pool, k=len(running[phase]))
            known = [
                *durations.pool,
                *(durations.drawn(one, goes_on=end[2]) for one, end in zip(running[phase], ends, strict=True)),
            ]
            drawn[phase] = self._random.choices(known, k=len(known))
        return drawn

    def _site_s(self, phases: Sequence[str]) -> float:
        """Return a duration of one site over some phases; a failure ends it early."""
        total = 0.0
        random = self._random.random
        for phase in phases:
            pool, factors = self._drawn[phase], self._durations[phase].factors
            _seconds, around, goes_on = pool[int(random() * len(pool))]
            total += around * factors[int(random() * _FACTORS)]
            if not goes_on:
                break
        return total

    def _moments(self) -> tuple[float, float]:
        """Return mean and variance of the duration of one site."""
        mean = square = 0.0
        for phase in reversed(self._work.phases):
            pool = self._drawn[phase]
            seconds = [run[0] for run in pool]
            on = [run[0] for run in pool if run[2]]
            first, both, go_on = sum(seconds) / len(pool), sum(on) / len(pool), len(on) / len(pool)
            square = sum(map(mul, seconds, seconds)) / len(pool) + 2 * both * mean + go_on * square
            mean = first + go_on * mean
        return mean, max(0.0, square - mean**2)

    def end_s(self) -> float:
        """Return after how many seconds the last site ends."""
        end = begin = 0.0
        alike: dict[int, int] = {}
        for stage, current in zip(self._work.stages, self._current, strict=True):
            if self._work.one_by_one and not stage.begun and not stage.pause_s and self._is_at_once(stage):
                # Many stages whose sites all run at once: their longest ones are added at the end.
                alike[stage.not_started] = alike.get(stage.not_started, 0) + 1
                continue
            last_start, stage_end = self._run_stage(stage, current, begin + stage.pause_s)
            end = max(end, stage_end)
            begin = end if self._work.one_by_one else last_start
        return end + sum(self._longest_of_stages(count, number) for count, number in alike.items())

    @staticmethod
    def _is_at_once(stage: StageLeft) -> bool:
        return stage.width is None or stage.width >= stage.not_started

    def _longest_of_stages(self, count: int, number: int) -> float:
        """Return the sum of the longest durations of `number` stages with `count` sites each."""
        mean = square = before = 0.0
        for place, seconds in enumerate(self._totals, start=1):
            below = (place / len(self._totals)) ** count
            mean += seconds * (below - before)
            square += seconds**2 * (below - before)
            before = below
        spread = sqrt(max(0.0, square - mean**2) * number)
        return max(0.0, self._random.gauss(mean * number, spread))

    def _run_stage(
        self, stage: StageLeft, current: Sequence[tuple[BegunSite, float]], begin: float
    ) -> tuple[float, float]:
        """Return when the last site of a stage starts, and when the last one ends."""
        count = stage.not_started
        width = max(1, stage.width or count + len(stage.begun))
        busy = [self._rest_s(site, seconds) for site, seconds in current]
        if not count:
            return begin, max([begin, *busy])
        # Places that are followed, each in the place of so many.
        each = max(self._every, ceil(width / _PLACES), 1)
        places = max(1, round(width / each))
        if each > self._every:
            busy = busy[:: ceil(each / self._every)]
        allowed = places if self._work.ramp is None else max(1, min(places, ceil(self._work.ramp / each)))
        free = [*busy[:places], *([begin] * max(0, allowed - len(busy)))]
        heapify(free)
        left = max(1, round(count / each))
        end = max(busy, default=begin)
        return self._serve(free, places, left, each, end)

    def _serve(self, free: list[float], places: int, left: int, each: int, end: float) -> tuple[float, float]:
        """Have the places take the sites of a queue; return the last start and the last end."""
        start = free[0]
        while left:
            if len(free) == places and left > _ROUNDS * places + places:
                # The middle of the queue as one sum of durations, which all places share.
                middle = left - _ROUNDS * places
                share = self._random.gauss(self._mean * middle, sqrt(self._variance * middle / each)) / places
                free[:] = [moment + max(0.0, share) for moment in free]
                left -= middle
                continue
            start = free[0]
            seconds = self._total_s(each if left <= places else 1)
            heapreplace(free, start + seconds)
            if len(free) < places:
                # Each that succeeds lets one more start.
                heappush(free, start + seconds)
            end = max(end, start + seconds)
            left -= 1
        return start, end

    def _total_s(self, of_so_many: int) -> float:
        """Return a duration of a site, or the longest one of some."""
        share = self._random.random()
        if of_so_many > 1:
            share **= 1 / of_so_many
        return self._totals[int(share * len(self._totals))]

    def _rest_s(self, site: BegunSite, seconds: float) -> float:
        """Return after how many seconds a site in flight ends, all its phases included."""
        pool = self._drawn[site.phase]
        _seconds, _around, goes_on = pool[int(self._random.random() * len(pool))]
        rest_s = max(0.0, seconds - site.age_s)
        return rest_s + self._site_s(_after(self._work.phases, site.phase)) if goes_on else rest_s
