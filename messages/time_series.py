"""Time series of a strategy as the wire has it: counts of its sites at even distances, its stages and its holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import ceil, floor
from typing import Annotated, Final, Literal

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from messages.schemas import Count, ZonedMoment
from messages.serializers import zoned_moment
from statemachine.rollout import HoldKind

# Most points of a series.
MOST_POINTS: Final = 240
# Distances of points that people can read, in seconds.
_DISTANCES_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)

# Counts of a point, by which changes are kept.
CountName = Literal["in-flight", "at-playbook", "ended", "failed"]

SeriesPoint = TypedDict(
    "SeriesPoint",
    {
        "at": ZonedMoment,
        "in-flight": Annotated[Count, Field(description="Sites whose work had begun and not ended; parked ones too.")],
        "at-playbook": Annotated[Count, Field(description="Those of them that a playbook of their own worked on.")],
        "ended": Annotated[Count, Field(description="Sites that had ended, however.")],
        "failed": Annotated[Count, Field(description="Those of them that had failed.")],
        "held": Annotated[
            bool, Field(description="Whether the strategy was held at some time since the point before.")
        ],
    },
)
SeriesStage = TypedDict(
    "SeriesStage",
    {
        "stage": Annotated[int, Field(ge=1)],
        "name": Annotated[str, Field(description="Its name in `rollout.stages`; empty: that names none.")],
        "sites": Count,
        "ended": Count,
        "failed": Count,
        "started-at": Annotated[ZonedMoment | None, Field(description="When the first of its sites began.")],
        "finished-at": Annotated[
            ZonedMoment | None, Field(description="When the last of its sites ended; null: some are open.")
        ],
    },
)
SeriesHold = TypedDict(
    "SeriesHold",
    {
        "kind": HoldKind,
        "stage": Annotated[int | None, Field(description="The stage after which the stages were held; null: all.")],
        "reason": str,
        "by": Annotated[str, Field(description="The caller who made it; empty for the coordinator.")],
        "since": ZonedMoment,
        "ended-at": Annotated[ZonedMoment | None, Field(description="Null: it is open.")],
    },
)
TimeSeries = TypedDict(
    "TimeSeries",
    {
        "from": Annotated[ZonedMoment | None, Field(description="When it was applied; null: it was not.")],
        "to": Annotated[ZonedMoment | None, Field(description="When it ended; while it goes on, now.")],
        "distance-s": Annotated[int, Field(ge=1, description="Seconds between two points.")],
        "points": Annotated[
            list[SeriesPoint],
            Field(
                max_length=MOST_POINTS, description="In the order of time; the last one is at `to`. None: not applied."
            ),
        ],
        "stages": Annotated[list[SeriesStage], Field(description="In their order.")],
        "holds": Annotated[
            list[SeriesHold],
            Field(description="Holds but those of single sites, open and ended, the latest hundred, in their order."),
        ],
    },
)


@dataclass(frozen=True, kw_only=True)
class SeriesSpan:
    """Time that a series covers, in seconds since the epoch, and how it is divided into buckets.

    The end is not before the begin.
    A bucket ends at a point. Buckets begin at multiples of their length, so that a point stays where it is while the
    strategy goes on.
    """

    begin_epoch: float
    end_epoch: float

    @property
    def length_s(self) -> int:
        """Seconds of a bucket."""
        whole_s = max(0.0, self.end_epoch - self.begin_epoch)
        # The first and the last one are mostly shorter.
        most = MOST_POINTS - 1
        return next((one for one in _DISTANCES_S if whole_s <= one * most), ceil(whole_s / most))

    @property
    def numbers(self) -> range:
        """Numbers of the buckets; see `db.schema.time_bucket`."""
        return range(floor(self.begin_epoch / self.length_s), floor(self.end_epoch / self.length_s) + 1)


def series_points(
    span: SeriesSpan,
    changes: Mapping[CountName, Mapping[int, int]],
    held: Sequence[tuple[datetime, datetime | None]] = (),
) -> list[SeriesPoint]:
    """Return the points of a series.

    Args:
        span: The time that is covered.

        changes: By how much each count changed in each bucket; what is outside of `span` counts at its border.

        held: Begins and ends of holds; an end that is None has not come.
    """
    numbers = span.numbers
    within = {name: _within(numbers, found) for name, found in changes.items()}
    holds = [(since.timestamp(), span.end_epoch if until is None else until.timestamp()) for since, until in held]
    ends = [(number + 1) * span.length_s for number in numbers[:-1]]
    points: list[SeriesPoint] = []
    sums: Counter[str] = Counter()
    for number, (before, at) in zip(numbers, pairwise((span.begin_epoch, *ends, span.end_epoch)), strict=True):
        for name, found in within.items():
            sums[name] += found[number]
        points.append(
            {
                "at": zoned_moment(at),
                "in-flight": sums["in-flight"],
                "at-playbook": sums["at-playbook"],
                "ended": sums["ended"],
                "failed": sums["failed"],
                "held": any(since <= at and before <= until for since, until in holds),
            }
        )
    return points


def _within(numbers: range, found: Mapping[int, int]) -> Counter[int]:
    within: Counter[int] = Counter()
    for number, change in found.items():
        within[min(max(number, numbers[0]), numbers[-1])] += change
    return within
