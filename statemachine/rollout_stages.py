"""Stages that a rollout names, such as a canary: which sites each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from statemachine.eligibility import Candidate
from statemachine.selector import Selector
from statemachine.states import ApplyType
from statemachine.window import WindowStage, allowed_failures, group_width, longest_first

# Name of the last stage, of the sites that match none.
REST: Final = "rest"


@dataclass(frozen=True, kw_only=True)
class StageSurroundings:
    """Limits, labels and durations that all stages of a strategy share.

    Attributes:
        labels: Labels by subcloud.

        apply_type: Apply type of the strategy, in place of that of the groups; a serial strategy takes one site after
            another in each stage.

        max_parallel: Width of the strategy, over all stages.

        usual_s: Usual seconds by subcloud, as for `window_stages`.
    """

    labels: Mapping[int, Mapping[str, str]]
    apply_type: str | None = None
    max_parallel: int | None = None
    usual_s: Mapping[int, float] | None = None


@dataclass(frozen=True, kw_only=True)
class StageRule:
    """A stage as it is wanted; one of the ways to choose its sites is given, and for `REST` none.

    Attributes:
        name: Its name.

        named: Ids of its subclouds.

        selector: Matches the labels of its subclouds.

        count: How many subclouds it has.

        percent: How many of 100 subclouds of the strategy it has, rounded up.

        max_parallel: Most of its sites in flight; None: the width of the strategy, or else the smallest one of the
            groups of its sites.

        max_failures: Its failure budget, as a number or a percentage of its sites; None: there is none.
    """

    name: str
    named: frozenset[int] | None = None
    selector: Selector | None = None
    count: int | None = None
    percent: int | None = None
    max_parallel: int | None = None
    max_failures: int | str | None = None

    def taken(
        self, left: Sequence[Candidate], labels: Mapping[int, Mapping[str, str]], total: int
    ) -> Sequence[Candidate]:
        """Return which of the subclouds that are left the stage has; `total` is the number of the strategy's."""
        if self.named is not None:
            return [one for one in left if one.subcloud_id in self.named]
        if self.selector is not None:
            return [one for one in left if self.selector.matches(labels.get(one.subcloud_id, {}))]
        if self.percent is not None:
            return left[: -(-self.percent * total // 100)]
        return left if self.count is None else left[: self.count]


def rollout_stages(
    candidates: Iterable[Candidate], rules: Sequence[StageRule], around: StageSurroundings
) -> Iterator[WindowStage]:
    """Yield the stages that have sites, numbered from 1 without gaps.

    Each rule takes from the subclouds that no earlier one has taken; those that are left are the last stage, `REST`.
    Within a stage they are in the order of groups.

    Args:
        candidates: Eligible subclouds.

        rules: The stages that are wanted, in order.

        around: Limits, labels and durations of the strategy.
    """
    left = sorted(candidates, key=lambda one: (one.group_id, one.subcloud_id))
    total, stage = len(left), 0
    for rule in (*rules, StageRule(name=REST)):
        members = rule.taken(left, around.labels, total)
        if not members:
            continue
        stage += 1
        taken = {one.subcloud_id for one in members}
        left = [one for one in left if one.subcloud_id not in taken]
        budget = rule.max_failures
        yield WindowStage(
            stage=stage,
            width=_width(members, rule, around),
            subcloud_ids=tuple(_ordered(members, around.usual_s)),
            name=rule.name,
            max_failures=None if budget is None else allowed_failures(budget, len(members)),
        )


def _width(members: Sequence[Candidate], rule: StageRule, around: StageSurroundings) -> int | None:
    """Return the most sites of a stage in flight: no group gets more than its own width where the stage has none."""
    if around.apply_type == ApplyType.SERIAL:
        return 1
    if rule.max_parallel is not None:
        return rule.max_parallel
    widths = {group_width(one, apply_type=around.apply_type, max_parallel=around.max_parallel) for one in members}
    return min((width for width in widths if width is not None), default=None)


def _ordered(members: Sequence[Candidate], usual_s: Mapping[int, float] | None) -> Iterator[int]:
    """Yield the sites of a stage group by group, in each by id or the longest first."""
    for _group, found in groupby(members, key=lambda one: one.group_id):
        ids = [one.subcloud_id for one in found]
        yield from ids if usual_s is None else longest_first(ids, usual_s)
