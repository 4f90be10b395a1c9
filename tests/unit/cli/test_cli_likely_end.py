"""Pace and likely end of a strategy in an operator's shell."""

from __future__ import annotations

import pytest

from client.strategy_queries import end_text

EXPECTED = {"p10": "2000-11-23 03:01:00.5", "p50": "2000-11-23 03:05:00", "p90": "2000-11-23 03:14:00"}
RANGE = "likely done 2000-11-23 03:01 to 03:14 UTC"


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        ({"pace": 4.1, "eta": EXPECTED, "eta-missing": None}, f"pace 4.1/min, {RANGE}"),
        ({"pace": 0.0, "eta": EXPECTED, "eta-missing": None}, f"pace 0/min, {RANGE}"),
        ({"pace": 1.0, "eta": None, "eta-missing": "held by alice"}, "pace 1/min, end not known: held by alice"),
        ({"pace": 0.0, "eta": None, "eta-missing": None}, ""),
        ({}, ""),
    ],
)
def test_the_likely_end_is_a_range_or_a_reason(progress: dict[str, object], text: str) -> None:
    """A strategy that goes on shows its pace and the range of its end, or why that is not known."""
    assert end_text(progress) == text
