from __future__ import annotations

from statistics import StatisticsError

import pytest

from statemachine.eligibility import Candidate
from statemachine.window import WindowStage, allowed_failures, usual_duration_s, window_stages


def candidate(subcloud_id: int, group_id: int, apply_type: str = "parallel", width: int = 5) -> Candidate:
    return Candidate(subcloud_id=subcloud_id, group_id=group_id, group_apply_type=apply_type, group_max_parallel=width)


FLEET = [candidate(4, 20, width=3), candidate(2, 10), candidate(1, 10), candidate(3, 30, "serial")]


def test_stage_of_each_group() -> None:
    """The stages of a window are the groups in order, with their own widths and their sites by id; serial: 1."""
    assert list(window_stages(FLEET)) == [
        WindowStage(stage=1, width=5, subcloud_ids=(1, 2)),
        WindowStage(stage=2, width=3, subcloud_ids=(4,)),
        WindowStage(stage=3, width=1, subcloud_ids=(3,)),
    ]


def test_width_of_the_strategy() -> None:
    """With a width of the strategy groups have none of their own, but a serial one keeps its sites apart."""
    assert [None, None, 1] == [stage.width for stage in window_stages(FLEET, max_parallel=8)]


def test_apply_type_of_the_strategy() -> None:
    """The strategy's apply type takes the place of that of the groups."""
    assert [1, 1, 1] == [stage.width for stage in window_stages(FLEET, apply_type="serial", max_parallel=8)]
    assert [5, 3, 5] == [stage.width for stage in window_stages(FLEET, apply_type="parallel")]


def test_longest_first() -> None:
    """Sites come by their usual duration, within their group; those without one at the median of the others."""
    group = [candidate(one, 10) for one in (1, 2, 3, 4, 5)]
    usual_s = {1: 60.0, 2: 600.0, 4: 100.0, 9: 9999.0}

    (stage,) = window_stages(group, usual_s=usual_s)

    assert stage.subcloud_ids == (2, 3, 4, 5, 1)


def test_longest_first_of_new_sites() -> None:
    """A group of sites without a duration is in the order of ids."""
    (stage,) = window_stages([candidate(2, 10), candidate(1, 10)], usual_s={})

    assert stage.subcloud_ids == (1, 2)


@pytest.mark.parametrize(
    ("durations", "expected"), [([5.0], 5.0), ([5.0, 7.0], 6.0), ([9.0, 1.0, 5.0, 100.0, 100.0], 5.0)]
)
def test_usual_duration(durations: list[float], expected: float) -> None:
    """The usual duration is the median of the last three."""
    assert expected == usual_duration_s(durations)


def test_no_duration() -> None:
    """A site without a complete strategy has no usual duration."""
    with pytest.raises(StatisticsError):
        usual_duration_s([])


@pytest.mark.parametrize(
    ("max_failures", "total", "expected"),
    [(0, 50, 0), ("7", 50, 7), ("10%", 50, 5), ("10%", 9, 0), ("100%", 50, 50), ("0%", 50, 0), ("33%", 10, 3)],
)
def test_budget(max_failures: int | str, total: int, expected: int) -> None:
    """A percentage is of the steps as created, rounded down: 10 % of 9 allow none, so that the first failure counts."""
    assert expected == allowed_failures(max_failures, total)


@pytest.mark.parametrize("max_failures", ["", "ten", "ten%"])
def test_no_budget(max_failures: str) -> None:
    """Another word is refused."""
    with pytest.raises(ValueError, match="invalid literal"):
        allowed_failures(max_failures, 10)
