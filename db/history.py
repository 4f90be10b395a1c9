"""Past and present strategies, newest first, and their steps; page by page.

Pages go by ids, so rows that are added meanwhile shift nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, func, select

from db.read_queries import Row
from db.schema import steps, strategies


def strategies_page(connection: Connection, *, before: int | None, limit: int) -> list[Row]:
    """Return the newest strategies, deleted ones too, at most `limit`, with ids below `before`."""
    query = select(strategies).order_by(strategies.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(strategies.c.id < before)
    return cast("list[Row]", connection.execute(query).mappings().all())


def strategy(connection: Connection, strategy_id: int) -> Row | None:
    """Return one strategy, deleted or not."""
    query = select(strategies).where(strategies.c.id == strategy_id)
    return cast("Row | None", connection.execute(query).mappings().first())


def step_counts(connection: Connection, strategy_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return for each strategy how many of its steps are in each state."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    query = (
        select(steps.c.strategy_id, steps.c.state, func.count().label("number"))
        .where(steps.c.strategy_id.in_(strategy_ids))
        .group_by(steps.c.strategy_id, steps.c.state)
    )
    for row in connection.execute(query):
        found[row.strategy_id][row.state] = row.number
    return found


def first_starts(connection: Connection, strategy_ids: Sequence[int]) -> dict[int, datetime]:
    """Return when the first step of each strategy began; none for one that never worked."""
    query = (
        select(steps.c.strategy_id, func.min(steps.c.started_at, type_=steps.c.started_at.type).label("first"))
        .where(steps.c.strategy_id.in_(strategy_ids), steps.c.started_at.is_not(None))
        .group_by(steps.c.strategy_id)
    )
    return {row.strategy_id: row.first for row in connection.execute(query)}


def steps_page(connection: Connection, strategy_id: int, *, after: int, limit: int) -> list[Row]:
    """Return the steps of a strategy in the order of ids, at most `limit`, with ids above `after`."""
    query = (
        select(steps).where(steps.c.strategy_id == strategy_id, steps.c.id > after).order_by(steps.c.id).limit(limit)
    )
    return cast("list[Row]", connection.execute(query).mappings().all())
