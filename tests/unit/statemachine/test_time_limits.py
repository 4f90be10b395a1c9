"""Time limits of runs, sites and strategies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from statemachine.snapshot import StrategyView
from statemachine.time_limits import held_time, is_time_over, run_limit, strategy_limit_reached, time_used
from tests.unit.statemachine.plan_views import NOW, STRATEGY

PACKAGES = "prestaging-packages"
LIMITED = replace(STRATEGY, time_limit_s=100.0, applied_at_epoch=NOW - 100)


@pytest.mark.parametrize(
    ("phase", "timeouts", "worked_s", "expected"),
    [
        (PACKAGES, {}, 0, (900, None)),
        (PACKAGES, {"images-s": 5}, 0, (900, None)),
        # Longer or shorter than the setting: it replaces it.
        (PACKAGES, {"packages-s": 1200}, 0, (1200, "packages-s")),
        (PACKAGES, {"packages-s": 60}, 0, (60, "packages-s")),
        ("prestage-precheck", {"precheck-s": 7}, 0, (7, "precheck-s")),
        ("prestage-prepare", {"prepare-s": 8}, 0, (8, "prepare-s")),
        ("prestaging-images", {"images-s": 9}, 0, (9, "images-s")),
        # The shorter one of the phase's limit and what is left of the site's.
        (PACKAGES, {"site-s": 1000}, 400, (600, "site-s")),
        (PACKAGES, {"site-s": 1000}, 50, (900, None)),
        (PACKAGES, {"packages-s": 60, "site-s": 1000}, 400, (60, "packages-s")),
        (PACKAGES, {"packages-s": 60, "site-s": 1000}, 990, (10, "site-s")),
        (PACKAGES, {"packages-s": 60, "site-s": 100}, 40, (60, "packages-s")),
        # Nothing is left.
        (PACKAGES, {"site-s": 1000}, 1000, (0, "site-s")),
        (PACKAGES, {"site-s": 1000}, 1200, (0, "site-s")),
        # Work on the controller is no work at the site.
        ("prestage-prepare", {"site-s": 10}, 0, (900, None)),
        ("unstaging", {}, 0, (900, None)),
    ],
)
def test_run_limit(phase: str, timeouts: dict[str, float], worked_s: float, expected: tuple[float, str | None]) -> None:
    """A phase's limit replaces the setting; of it and what is left of the site's the shorter one counts."""
    limit = run_limit(phase, timeouts, worked_s=worked_s, default_s=900)

    assert expected == (limit.seconds, limit.option)


@pytest.mark.parametrize(
    ("timeouts", "sentence"),
    [
        ({}, "It did not finish within 900 s."),
        ({"packages-s": 60}, "The limit of 60 s (packages-s) was reached in prestaging-packages."),
        ({"site-s": 3600000}, "It did not finish within 900 s."),
        ({"site-s": 600}, "The site's limit of 600 s (site-s) was reached in prestaging-packages."),
    ],
)
def test_run_limit_in_words(timeouts: dict[str, float], sentence: str) -> None:
    """The sentence says which limit it was, as it was set, and what was running."""
    assert sentence == run_limit(PACKAGES, timeouts, worked_s=10, default_s=900).reached(PACKAGES)


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        ([], (0, None)),
        ([(10, 15)], (5, None)),
        ([(20, 25), (10, 15)], (10, None)),
        # Time under two holds counts once.
        ([(10, 20), (15, 30)], (20, None)),
        ([(10, 40), (15, 30)], (30, None)),
        ([(10, 20), (20, 30)], (20, None)),
        ([(10, None)], (0, 10)),
        ([(10, 15), (30, None)], (5, 30)),
        # An open one that began under another one has held since that began.
        ([(10, 20), (15, None)], (0, 10)),
        ([(10, None), (15, 20), (30, 40)], (0, 10)),
        ([(10, None), (15, None)], (0, 10)),
    ],
)
def test_held_time(holds: list[tuple[float, float | None]], expected: tuple[float, float | None]) -> None:
    """Time under holds that cover everything counts once, however they overlap."""
    assert expected == held_time(holds)


@pytest.mark.parametrize(
    ("strategy", "over"),
    [
        (LIMITED, True),
        (replace(LIMITED, applied_at_epoch=NOW - 99), False),
        (replace(LIMITED, time_limit_s=None), False),
        (replace(LIMITED, applied_at_epoch=None), False),
        (replace(LIMITED, held_s=1.0), False),
        (replace(LIMITED, applied_at_epoch=NOW - 200, held_s=100.0), True),
        (replace(LIMITED, held_since_epoch=NOW - 1), False),
        (replace(LIMITED, applied_at_epoch=NOW - 500, held_s=300.0, held_since_epoch=NOW - 100), True),
    ],
)
def test_limit_of_the_strategy(strategy: StrategyView, over: bool) -> None:
    """The limit counts from apply, without the time under holds that cover everything."""
    assert over is is_time_over(strategy, NOW)


def test_time_before_apply() -> None:
    """A strategy that was not applied has used no time."""
    assert time_used(STRATEGY, NOW) == 0


def test_limit_of_the_strategy_in_words() -> None:
    """The sentence names the option."""
    assert strategy_limit_reached(3600000) == "The strategy's limit of 3600000 s (strategy-s) was reached."
