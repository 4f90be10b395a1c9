"""The dashboard with 5,000 sites."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests.bench.page import measure

# A machine that is busy with other tests is slower.
_SHARE = 4.0


def test_five_thousand_sites(chromium: Browser, tmp_path: Path) -> None:
    """First paint, all cells and the longest task under load stay within four times the goals with 5,000 sites."""
    goals = list(measure(chromium, tmp_path, 5000, 10.0))
    assert len(goals) == 3
    assert [str(goal) for goal in goals if goal.measured > goal.limit * _SHARE] == []
