"""Points of a time series: bounded, even, and true at each."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from messages.time_series import MOST_POINTS, CountName, SeriesSpan, series_points

# A whole hour, in seconds since the epoch.
HOUR = 1_700_002_800.0


def span(begin_s: float, end_s: float) -> SeriesSpan:
    """Return a span by seconds after the hour."""
    return SeriesSpan(begin_epoch=HOUR + begin_s, end_epoch=HOUR + end_s)


def moment(after_s: float) -> datetime:
    """Return a moment by seconds after the hour."""
    return datetime.fromtimestamp(HOUR + after_s, UTC)


@pytest.mark.parametrize("begin_s", [0.0, 0.5, 17.9, 59.999])
@pytest.mark.parametrize("days", [0.0, 1e-5, 0.01, 0.4, 3.0, 239.0, 240.0, 4000.0])
def test_points_are_bounded(begin_s: float, days: float) -> None:
    """However long a strategy takes, a series has at least one point and at most 240."""
    found = series_points(span(begin_s, begin_s + days * 86400), {})

    assert 1 <= len(found) <= MOST_POINTS


@pytest.mark.parametrize(
    ("length_s", "distance_s"), [(0, 1), (239, 1), (240, 2), (3600, 30), (4 * 3600, 120), (8 * 3600, 300)]
)
def test_distances_are_those_of_people(length_s: float, distance_s: int) -> None:
    """The distance of points is the first round number of seconds that is long enough."""
    assert span(0, length_s).length_s == distance_s


def test_points_stay_where_they_are() -> None:
    """All points but the last lie at multiples of their distance, so that they stay while a strategy goes on."""
    found = series_points(span(17.5, 3617.5), {})

    assert found[0]["at"] == "2023-11-14T23:00:30.000+00:00"
    assert found[-2]["at"] == "2023-11-15T00:00:00.000+00:00"
    assert found[-1]["at"] == "2023-11-15T00:00:17.500+00:00"
    assert len(found) == 121


def test_counts_are_sums_of_changes() -> None:
    """A count at a point is the sum of all changes before it; those outside of the span count at its borders."""
    first = int(HOUR)
    changes: dict[CountName, dict[int, int]] = {
        "in-flight": {first - 5: 2, first + 1: 1, first + 3: -2},
        "ended": {first + 3: 2, first + 900: 1},
        "failed": {first + 900: 1},
    }
    found = series_points(span(0, 4), changes)

    assert [one["in-flight"] for one in found] == [2, 3, 3, 1, 1]
    assert [one["ended"] for one in found] == [0, 0, 0, 2, 3]
    assert [one["failed"] for one in found] == [0, 0, 0, 0, 1]
    assert {one["at-playbook"] for one in found} == {0}


def test_holds_mark_what_they_touch() -> None:
    """A point is held when a hold was open at some time since the point before; an open hold goes on to the end."""
    held = [(moment(0.5), moment(1.5)), (moment(3.5), None)]
    found = series_points(span(0, 5), {}, held)

    assert [one["held"] for one in found] == [True, True, False, True, True, True]
