"""Stages that a rollout names: who is in them, in which order, and how many at once."""

from __future__ import annotations

import pytest

from statemachine.eligibility import Candidate
from statemachine.rollout_stages import REST, StageRule, StageSurroundings, rollout_stages
from statemachine.selector import parse_selector
from statemachine.window import WindowStage

FLEET = [
    Candidate(subcloud_id=one, group_id=10 + one % 2, group_apply_type="parallel", group_max_parallel=2 + one % 2)
    for one in range(1, 11)
]
AROUND = StageSurroundings(labels={3: {"lab": ""}, 8: {"lab": ""}})


def found(*rules: StageRule, around: StageSurroundings = AROUND) -> list[WindowStage]:
    """Return the stages over ten sites in two groups."""
    return list(rollout_stages(FLEET, rules, around))


def test_nobody_is_dropped_or_taken_twice() -> None:
    """Each site is in one stage; numbers go on without gaps where a stage has no site."""
    stages = found(
        StageRule(name="lab", selector=parse_selector("lab")),
        StageRule(name="again", selector=parse_selector("lab")),
        StageRule(name="named", named=frozenset({3, 5})),
    )

    assert [(1, "lab", (8, 3)), (2, "named", (5,))] == [(one.stage, one.name, one.subcloud_ids) for one in stages[:2]]
    assert (3, REST) == (stages[2].stage, stages[2].name)
    assert sorted(one for stage in stages for one in stage.subcloud_ids) == list(range(1, 11))


@pytest.mark.parametrize(("percent", "sites"), [(1, 1), (10, 1), (11, 2), (99, 10), (100, 10)])
def test_percent(percent: int, sites: int) -> None:
    """A percentage is of all sites of the strategy, rounded up: a stage of any has one site at least."""
    assert sites == len(found(StageRule(name="canary", percent=percent))[0].subcloud_ids)


def test_count() -> None:
    """A count takes sites in the order of groups and ids, and what is left where there are fewer."""
    assert (2, 4, 6) == found(StageRule(name="canary", count=3))[0].subcloud_ids
    assert [10] == [len(one.subcloud_ids) for one in found(StageRule(name="canary", count=99))]


def test_widths() -> None:
    """The width is that of the stage, else the strategy's, else the smallest one of its groups; serial is one."""
    rules = (StageRule(name="own", count=2, max_parallel=7), StageRule(name="one-group", named=frozenset({1, 3})))
    of_strategy = StageSurroundings(labels={}, max_parallel=4)
    serial = StageSurroundings(labels={}, apply_type="serial")

    assert [7, 3, 2] == [one.width for one in found(*rules)]
    assert [7, None, None] == [one.width for one in found(*rules, around=of_strategy)]
    assert [1, 1, 1] == [one.width for one in found(*rules, around=serial)]


def test_longest_first() -> None:
    """Within the sites of a group in a stage the longest come first."""
    around = StageSurroundings(labels={}, usual_s={2: 1.0, 4: 9.0, 6: 5.0})

    assert (4, 6, 2) == found(StageRule(name="canary", count=3), around=around)[0].subcloud_ids


def test_budget() -> None:
    """A percentage of failures is of the sites of the stage, rounded down; the last stage has no budget."""
    stages = found(StageRule(name="canary", count=3, max_failures="34%"))

    assert [1, None] == [one.max_failures for one in stages]
