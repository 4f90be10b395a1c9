"""The events table as a follower reads it: numbered in the order of commits, so nothing appears below what was seen."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Connection, func, select

from db.read_queries import Row
from db.schema import events
from messages.event_types import RESTORED


def newest_id(connection: Connection) -> int:
    """Return the number of the newest event; 0 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def oldest_id(connection: Connection) -> int | None:
    """Return the number of the oldest event that is still kept; None when there is none."""
    return cast("int | None", connection.execute(select(func.min(events.c.id))).scalar())


def was_restored_after(connection: Connection, seen: int) -> bool:
    """Return whether the database was restored from a backup after event number `seen`."""
    query = select(events.c.id).where(events.c.id > seen, events.c.type == RESTORED)
    return connection.execute(query.limit(1)).first() is not None


def after(connection: Connection, seen: int, limit: int) -> list[Row]:
    """Return the events after number `seen`, at most `limit`, in their order."""
    query = select(events).where(events.c.id > seen).order_by(events.c.id).limit(limit)
    return cast("list[Row]", connection.execute(query).mappings().all())
