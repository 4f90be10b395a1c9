"""Stages, widths and order of the sites of a sliding window, as they are written at create."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Final

from statemachine.eligibility import Candidate
from statemachine.rollout import RolloutMode
from statemachine.states import ApplyType

# Complete strategies of a site that its usual duration is taken from.
RECENT: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowStage:
    """A stage of a sliding window: a group, or a stage that the rollout names.

    Attributes:
        stage: Its number in order, from 1.

        width: Most of its sites in flight; None: only the width of the strategy counts.

        subcloud_ids: Its sites in the order of their positions, which are 0, 1, 2 and so on.

        name: Its name; empty for a group.

        max_failures: Its failure budget as a count of its sites; None: there is none.
    """

    stage: int
    width: int | None
    subcloud_ids: tuple[int, ...]
    name: str = ""
    max_failures: int | None = None


def window_stages(
    candidates: Iterable[Candidate],
    *,
    apply_type: str | None = None,
    max_parallel: int | None = None,
    usual_s: Mapping[int, float] | None = None,
) -> Iterator[WindowStage]:
    """Yield the stages of a sliding window, in the order of groups.

    A serial group has a width of 1, another one its own where the strategy has none.

    Args:
        candidates: Eligible subclouds.

        apply_type: Apply type of the strategy, in place of that of the groups.

        max_parallel: Width of the strategy, over all stages.

        usual_s: Usual seconds by subcloud, of those that have any: the longest come first. None: the order of ids.
    """
    ordered = sorted(candidates, key=lambda candidate: (candidate.group_id, candidate.subcloud_id))
    groups = groupby(ordered, key=lambda candidate: candidate.group_id)
    for stage, (_group, found) in enumerate(groups, start=1):
        members = list(found)
        ids = [member.subcloud_id for member in members]
        yield WindowStage(
            stage=stage,
            width=group_width(members[0], apply_type=apply_type, max_parallel=max_parallel),
            subcloud_ids=tuple(ids if usual_s is None else longest_first(ids, usual_s)),
        )


def group_width(member: Candidate, *, apply_type: str | None, max_parallel: int | None) -> int | None:
    """Return the most sites in flight of the group of a site; None: only the width of the strategy counts."""
    if (apply_type or member.group_apply_type) == ApplyType.SERIAL:
        return 1
    return None if max_parallel else member.group_max_parallel


def longest_first(ids: Sequence[int], usual_s: Mapping[int, float]) -> list[int]:
    """Return the sites of one group by their usual duration; those without one count as the median of the others."""
    known = [usual_s[one] for one in ids if one in usual_s]
    unknown_s = median(known) if known else 0.0
    return sorted(ids, key=lambda one: (-usual_s.get(one, unknown_s), one))


def usual_duration_s(durations_s: Sequence[float]) -> float:
    """Return the usual duration of a site: the median of its last three complete strategies.

    Args:
        durations_s: Seconds that each took, the latest one first; at least one.

    Raises:
        StatisticsError: There is none.
    """
    return median(durations_s[:RECENT])


def allowed_failures(max_failures: int | str, total: int) -> int:
    """Return the failures that a budget allows, rounded down.

    Args:
        max_failures: A number of sites, or a percentage such as `10%`.

        total: Steps of the strategy as created.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(max_failures, str) and max_failures.endswith("%"):
        return int(max_failures.removesuffix("%")) * total // 100
    return int(max_failures)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlace:
    """Stage of a step, and its place in the order of a sliding window."""

    stage: int
    position: int


def retried_place(mode: str, place: StepPlace, *, open_stage: int | None, last_position: int) -> StepPlace:
    """Return the place of a step that is retried.

    In a sliding window that is the end of its stage's queue. In mode `stages` it is its own stage when that is still to
    come, else the open one: a stage that has ended does not open again.

    Args:
        mode: See `RolloutMode`.

        place: Its place so far.

        open_stage: Smallest stage with a step that has not ended; None: all have.

        last_position: The largest position in the strategy.
    """
    if mode == RolloutMode.WINDOW:
        return StepPlace(stage=place.stage, position=last_position + 1)
    return StepPlace(stage=max(place.stage, open_stage or place.stage), position=place.position)
