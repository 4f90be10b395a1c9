"""Time series of a strategy, counted from the moments of its steps, runs and holds as they are stored.

Few statements, however many sites there are: the database puts moments into buckets and counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, case, func, select

from db.schema import database_now, holds, runs, steps, time_bucket
from messages.serializers import zoned_moment
from messages.time_series import CountName, SeriesHold, SeriesSpan, SeriesStage, TimeSeries, series_points
from statemachine.states import PLAYBOOK_PHASES, StepState

# A row by column name; SQLAlchemy types its keys loosely.
Row = Mapping[Any, Any]

_MOST_HOLDS: Final = 100
_LENGTH: Final = "length_s"
_STRATEGY: Final = bindparam("of_strategy", type_=steps.c.strategy_id.type)
_MINE: Final = steps.c.strategy_id == _STRATEGY
_MOMENT: Final = steps.c.started_at.type
_HAS_BEGUN: Final = and_(_MINE, steps.c.started_at.is_not(None))
_HAS_ENDED: Final = and_(_MINE, steps.c.finished_at.is_not(None))
_FAILED: Final = func.sum(case((steps.c.state == StepState.FAILED, 1), else_=0)).label("failed")

_FIRST_START: Final = select(func.min(steps.c.started_at, type_=_MOMENT)).where(_HAS_BEGUN).scalar_subquery()
_NOW: Final = select(database_now().label("now"), _FIRST_START.label("first_start"))
_BEGUN: Final = (
    select(time_bucket(steps.c.started_at, _LENGTH).label("bucket"), func.count().label("number"))
    .where(_HAS_BEGUN)
    .group_by("bucket")
)
_ENDED: Final = (
    select(
        time_bucket(steps.c.finished_at, _LENGTH).label("bucket"),
        func.count().label("number"),
        func.count(steps.c.started_at).label("begun"),
        _FAILED,
    )
    .where(_HAS_ENDED)
    .group_by("bucket")
)
# In one pass over the runs, for they are many: each pair of buckets once.
_PLAYBOOKS: Final = (
    select(
        time_bucket(runs.c.started_at, _LENGTH).label("begin"),
        time_bucket(runs.c.finished_at, _LENGTH).label("end"),
        func.count().label("number"),
    )
    .join_from(steps, runs, runs.c.step_id == steps.c.id)
    .where(_MINE, runs.c.started_at.is_not(None), runs.c.phase.in_(PLAYBOOK_PHASES))
    .group_by("begin", "end")
)
_STAGES: Final = (
    select(
        steps.c.stage,
        func.count().label("sites"),
        func.count(steps.c.finished_at).label("ended"),
        _FAILED,
        func.min(steps.c.started_at, type_=_MOMENT).label("first_start"),
        func.max(steps.c.finished_at, type_=_MOMENT).label("last_end"),
    )
    .where(_MINE)
    .group_by(steps.c.stage)
    .order_by(steps.c.stage)
)
_HOLDS: Final = (
    select(holds)
    .where(holds.c.strategy_id == _STRATEGY, holds.c.step_id.is_(None))
    .order_by(holds.c.id.desc())
    .limit(_MOST_HOLDS)
)


def read_series(connection: Connection, strategy: Row) -> TimeSeries:
    """Return the time series of a strategy, from its application to its end or to now."""
    mine = {"of_strategy": strategy["id"]}
    now = connection.execute(_NOW, mine).one()
    # Strategies of before the column was there tell it by their first site.
    begin = strategy["applied_at"] or now.first_start
    end = strategy["finished_at"] or strategy["deleted_at"] or datetime.fromtimestamp(now.now, UTC)
    held = list(reversed(connection.execute(_HOLDS, mine).mappings().all()))
    series: TimeSeries = {
        "from": None,
        "to": None,
        "distance-s": 1,
        "points": [],
        "stages": _stages(connection, strategy, mine),
        "holds": [_hold(row) for row in held],
    }
    if begin is None:
        return series
    span = SeriesSpan(begin_epoch=begin.timestamp(), end_epoch=max(begin, end).timestamp())
    changes = _changes(connection, {**mine, _LENGTH: span.length_s})
    points = series_points(span, changes, [(row["since"], row["ended_at"]) for row in held])
    return {
        **series,
        "from": zoned_moment(begin),
        "to": zoned_moment(max(begin, end)),
        "distance-s": span.length_s,
        "points": points,
    }


def _changes(connection: Connection, wanted: dict[str, Any]) -> dict[CountName, Counter[int]]:
    found: defaultdict[CountName, Counter[int]] = defaultdict(Counter)
    for bucket, number in connection.execute(_BEGUN, wanted):
        found["in-flight"][bucket] += number
    for bucket, number, begun, failed in connection.execute(_ENDED, wanted):
        # A site that was aborted before it began was never in flight.
        found["in-flight"][bucket] -= begun
        found["ended"][bucket] += number
        found["failed"][bucket] += failed
    for begin, end, number in connection.execute(_PLAYBOOKS, wanted):
        found["at-playbook"][begin] += number
        if end is not None:
            found["at-playbook"][end] -= number
    return found


def _stages(connection: Connection, strategy: Row, mine: Mapping[str, int]) -> list[SeriesStage]:
    names = {one.get("stage"): one["name"] for one in strategy["rollout"].get("stages") or ()}
    return [
        {
            "stage": stage,
            "name": names.get(stage, ""),
            "sites": sites,
            "ended": ended,
            "failed": failed,
            "started-at": zoned_moment(first_start),
            "finished-at": zoned_moment(last_end) if ended == sites else None,
        }
        for stage, sites, ended, failed, first_start, last_end in connection.execute(_STAGES, mine)
    ]


def _hold(row: Row) -> SeriesHold:
    return {
        "kind": row["kind"],
        "stage": row["stage"],
        "reason": row["reason"],
        "by": row["by"],
        "since": zoned_moment(row["since"]),
        "ended-at": zoned_moment(row["ended_at"]),
    }
