"""Forget what is old: history grows by every strategy and would fill the disk in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, func, select

from db.engine import Database
from db.schema import audit, commands, events, steps, strategies, webhook_deliveries

# Rows a transaction deletes at most, so that nobody waits long for the writer's place. What hangs on them goes along,
# so of strategies, each with thousands of steps and runs, it is one: 200 of them held SQLite's writer for 20 s.
_BATCH: Final = 200


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long things are kept."""

    history: timedelta
    audit: timedelta


def purge(database: Database, kept: Retention, now: datetime) -> int:
    """Delete what is too old at `now`; return how many rows.

    Of the history: events, answered commands, deliveries to webhooks that have ended, deleted strategies (with their
    steps, runs and outputs) and standalone steps. Nothing that is worked on is touched.
    """
    old = (*_old(now - kept.history), (audit, audit.c.at < now - kept.audit))
    return sum(_purge_table(database, table, condition) for table, condition in old)


def _old(before: datetime) -> Sequence[tuple[Table, ColumnElement[bool]]]:
    return (
        # Not the newest: without it nobody could tell a number that was seen from one of another installation.
        (events, (events.c.at < before) & (events.c.id < select(func.max(events.c.id)).scalar_subquery())),
        (commands, commands.c.created_at < before),
        (strategies, strategies.c.deleted_at < before),
        (webhook_deliveries, webhook_deliveries.c.finished_at < before),
        (steps, steps.c.strategy_id.is_(None) & (steps.c.finished_at < before)),
    )


def _purge_table(database: Database, table: Table, old: ColumnElement[bool]) -> int:
    count = 0
    # Found by a reader: not every condition has an index, and the last look finds nothing in all rows.
    while ids := _find(database, table, old):
        with database.write() as connection:
            # Asked once more, for a row may have changed meanwhile.
            count += connection.execute(delete(table).where(table.c.id.in_(ids), old)).rowcount
    return count


def _find(database: Database, table: Table, old: ColumnElement[bool]) -> list[Any]:
    limit = 1 if table is strategies else _BATCH
    with database.read() as connection:
        return [*connection.execute(select(table.c.id).where(old).limit(limit)).scalars()]
