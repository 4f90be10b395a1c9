"""Goals of benchmarks and the lines that they print."""

from __future__ import annotations

import pytest

from tests.bench.goals import Goal, judge, percentile


def goal(measured: float) -> Goal:
    """Return a goal of at most 2 seconds."""
    return Goal(name="a strategy", measured=measured, limit=2, unit="s")


@pytest.mark.parametrize(("measured", "is_met"), [(1.9, True), (2.0, True), (2.1, False), (float("nan"), False)])
def test_a_goal_is_met_up_to_its_limit(measured: float, is_met: bool) -> None:
    """A figure meets its goal up to the limit itself; one that is not a number does not."""
    assert goal(measured).is_met is is_met


def test_a_goal_is_one_line_with_figure_and_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """Each goal is one line with what was measured and its limit, and a missed one is called so."""
    judge([goal(1.234), goal(3.0)])

    assert capsys.readouterr().out.splitlines() == [
        "met    a strategy: 1.23 s (goal: at most 2)",
        "MISSED a strategy: 3 s (goal: at most 2)",
        "1 of 2 goals met",
    ]


@pytest.mark.parametrize(("measured", "status"), [((1.0, 2.0), 0), ((1.0, 2.5), 1)])
def test_the_exit_status_says_whether_all_goals_are_met(measured: tuple[float, ...], status: int) -> None:
    """The exit status is 0 when all goals are met, else 1."""
    assert judge(map(goal, measured)) == status


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(1, 50, 1), (1, 99, 1), (2, 50, 1), (2, 99, 2), (100, 99, 99), (200, 50, 100)]
)
def test_a_percentile_is_one_of_the_values(count: int, share: float, expected: float) -> None:
    """A percentile is the smallest value that enough of them do not exceed, of one value that value."""
    assert percentile([*range(count, 0, -1)], share) == expected


def test_nothing_has_no_percentile() -> None:
    """Without any value there is no percentile."""
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)
