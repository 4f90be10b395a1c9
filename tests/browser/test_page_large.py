"""The dashboard with 5,000 sites."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests.bench.page import measure

# A machine that is busy with other tests is slower.
_SHARE = 4.0
# What other tests take from the machine during one measurement says nothing of the page.
_TRIES = 3


def test_five_thousand_sites(chromium: Browser, tmp_path: Path) -> None:
    """First paint, all cells and the longest task under load stay within four times the goals with 5,000 sites."""
    missed: list[str] = []
    for number in range(_TRIES):
        goals = list(measure(chromium, tmp_path / str(number), 5000, 5.0))
        assert len(goals) == 3
        missed = [str(goal) for goal in goals if goal.measured > goal.limit * _SHARE]
        if not missed:
            return
    assert missed == []
