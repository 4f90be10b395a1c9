"""Stage numbers of the subclouds of a strategy (contract 8.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from statemachine.states import ApplyType


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One eligible subcloud, with what its group says."""

    subcloud_id: int
    group_id: int
    # The group's own way; a strategy may override it for all groups.
    group_apply_type: str
    # The group's own width, 1 to 500; a strategy may override it for all groups.
    group_max_parallel: int


def number_stages(
    candidates: Iterable[Candidate], *, apply_type: str | None = None, max_parallel: int | None = None
) -> Iterator[tuple[int, int]]:
    """Yield (subcloud id, stage) in the order of groups and, inside a group, of subclouds, both by id.

    Stages are contiguous from 1 and never span two groups. `apply_type` and `max_parallel` override every group's
    own values. A serial group has one subcloud per stage.
    """
    ordered = sorted(candidates, key=lambda candidate: (candidate.group_id, candidate.subcloud_id))
    stage = 0
    for _group, members in groupby(ordered, key=lambda candidate: candidate.group_id):
        for place, candidate in enumerate(members):
            serial = (apply_type or candidate.group_apply_type) == ApplyType.SERIAL
            width = 1 if serial else (max_parallel or candidate.group_max_parallel)
            if place % width == 0:
                stage += 1
            yield candidate.subcloud_id, stage
