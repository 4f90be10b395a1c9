"""What orchestration costs beside the playbooks, against the goals: playbooks only take time, everything else is real.

Run all with `make bench`, or some: `python -m tests.bench.orchestration --only p3 p4`. It starts a RabbitMQ and a
PostgreSQL of its own, asks nothing outside loopback and stops by itself. The exit status says whether every goal is
met. CPU is user and system time of each process and its children.
"""

from __future__ import annotations

import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Final

from tests.bench.goals import CONSOLE, Goal, judge, percentile, show_machine
from tests.bench.measured_installation import (
    DISTRIBUTED,
    EMBEDDED,
    StrategyCost,
    measured_installation,
    site_name,
)
from tests.bench.schedules import barrier_s, draw_durations, longest_first_s, lower_bound_s, sliding_window_s
from tests.bench.timed_process import PlaybookTimes
from tests.support.fake_playbooks import IMAGES, PACKAGES

SITES: Final = 1000
# Width of a strategy: how many sites at once.
WIDE: Final = 500
NARROW: Final = 50
# Light load.
LIGHT_SITES: Final = 20
LIGHT_WIDTH: Final = 4
LIGHT_ROUNDS: Final = 10
# Growth.
SMALL_SITES: Final = 100
SMALL_ROUNDS: Final = 5
LARGE_SITES: Final = 10_000
GROWTH_WIDTH: Final = 100
# Playbooks of random length: seconds of a site, and their coefficients of variation.
MEAN_S: Final = 2.0
VARIATIONS: Final = (0.5, 1.0)
SEED: Final = 9


def main(arguments: list[str]) -> int:
    """Measure what is asked for, print each goal, and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.bench.orchestration", description="Measure the orchestration.")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), help="what to measure")
    chosen = parser.parse_args(arguments).only
    show_machine()
    return judge(goal for name in chosen for goal in _titled(name))


def _titled(name: str) -> Iterator[Goal]:
    CONSOLE.rule(name.upper(), align="left")
    yield from MEASUREMENTS[name]()


def _gaps() -> Iterable[Goal]:
    """P2: from the end of a playbook to the start of the site's next one, under light load."""
    durations = {site_name(place): {PACKAGES: 0.02, IMAGES: 0.02} for place in range(LIGHT_SITES)}
    for kind, median_ms, p99_ms in ((EMBEDDED, 12, 30), (DISTRIBUTED, 30, 60)):
        with measured_installation(kind, durations) as installation:
            installation.add_sites(LIGHT_SITES)
            for _ in range(LIGHT_ROUNDS):
                installation.run_strategy(LIGHT_WIDTH)
            gaps = _gaps_ms(installation.journal())
        for share, limit in ((50, median_ms), (99, p99_ms)):
            name = f"end of a playbook to the site's next, p{share}, {kind}"
            yield Goal(name=name, measured=percentile(gaps, share), limit=limit, unit="ms")


def _gaps_ms(journal: Iterable[PlaybookTimes]) -> list[float]:
    packages_ended_s: dict[str, float] = {}
    gaps = []
    for times in sorted(journal, key=lambda one: one.started_s):
        if times.playbook == PACKAGES:
            packages_ended_s[times.host] = times.ended_s
        elif times.playbook == IMAGES:
            gaps.append((times.started_s - packages_ended_s.pop(times.host)) * 1000)
    return gaps


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
        name = f"CPU per transition, {SITES:,} sites, {width} at once, {DISTRIBUTED}"
        yield Goal(name=name, measured=cost.total_cpu_ms, limit=limit, unit="ms")


@cache
def _no_op_cost(width: int) -> StrategyCost:
    with measured_installation(DISTRIBUTED) as installation:
        installation.add_sites(SITES)
        return installation.run_strategy(width)


def _show_cpu(cost: StrategyCost) -> None:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in cost.cpu_ms.items())
    CONSOLE.print(f"       {cost.sites:,} sites, {cost.width} at once, ms per transition: {parts}; {cost.wall_s:.1f} s")


def _growth() -> Iterable[Goal]:
    """P5: CPU per transition of a large fleet against that of a small one."""
    for kind in (EMBEDDED, DISTRIBUTED):
        with measured_installation(kind) as installation:
            installation.add_sites(SMALL_SITES)
            # The first one loads and compiles what later ones find ready.
            _, *small = (installation.run_strategy(GROWTH_WIDTH) for _ in range(1 + SMALL_ROUNDS))
            installation.add_sites(LARGE_SITES - SMALL_SITES)
            large = installation.run_strategy(GROWTH_WIDTH)
        for cost in (small[-1], large):
            _show_cpu(cost)
        ratio = large.total_cpu_ms / statistics.fmean(cost.total_cpu_ms for cost in small)
        yield Goal(
            name=f"CPU at {LARGE_SITES:,} sites against {SMALL_SITES}, {kind}", measured=ratio, limit=1.15, unit="x"
        )


def _schedule(kind: str) -> Iterable[Goal]:
    """P9: playbooks of random length, in stages and in a sliding window, against the ideal schedules of the draws."""
    for sites, width in ((200, 20), (1000, 50)):
        for variation in VARIATIONS:
            yield from _schedule_goals(kind, sites, width, variation)


def _schedule_goals(kind: str, sites: int, width: int, variation: float) -> Iterable[Goal]:
    drawn = draw_durations(sites, mean_s=MEAN_S, variation=variation, seed=SEED)
    durations = {site_name(place): {PACKAGES: one / 2, IMAGES: one / 2} for place, one in enumerate(drawn)}
    window = {"mode": "window"}
    # The order of the longest first is that of the two strategies before.
    ways = (
        ("stages", {}, barrier_s(drawn, width)),
        ("sliding window", window, sliding_window_s(drawn, width)),
        ("longest first, against the lower bound", window | {"order": "longest-first"}, lower_bound_s(drawn, width)),
    )
    with measured_installation(kind, durations) as installation:
        installation.add_sites(sites)
        for way, rollout, ideal_s in ways:
            cost = installation.run_strategy(width, **({"rollout": rollout} if rollout else {}))
            cpu_share = sum(cost.cpu_s.values()) / cost.wall_s
            CONSOLE.print(f"       {way}: {cost.wall_s:.1f} s, ideal {ideal_s:.1f} s; {cpu_share:.0%} of a core")
            name = f"{way}, {sites:,} sites, {width} at once, variation {variation:g}, {kind}"
            yield Goal(name=name, measured=cost.wall_s / ideal_s, limit=1.1, unit="x")
    ratio = longest_first_s(drawn, width) / lower_bound_s(drawn, width)
    CONSOLE.print(f"       without orchestration, longest first, against the lower bound: {ratio:.2f}")


MEASUREMENTS: Final[Mapping[str, Callable[[], Iterable[Goal]]]] = {
    "p2": _gaps,
    "p3": _no_op_wall,
    "p4": _cpu,
    "p5": _growth,
    "p9": partial(_schedule, EMBEDDED),
    "p9-distributed": partial(_schedule, DISTRIBUTED),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
