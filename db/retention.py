"""Forget what is old: history grows by every strategy and would fill the disk in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, select

from db.database import Database
from db.schema import audit, commands, database_now, events, steps, strategies, webhook_deliveries

# Rows a transaction deletes at most, so that other writers do not wait long. What hangs on them goes along,
# so of strategies, each with thousands of steps and runs, it is one: 200 of them held SQLite's writer for 20 s.
_BATCH: Final = 200

# Times of rows that are written whenever something happens, by the clocks of those who write them.
_WRITTEN_AT: Final[Sequence[Column[datetime]]] = (events.c.at, commands.c.created_at, audit.c.at)
# Longest pause between two of them that does not make the clock doubtful.
LONGEST_PAUSE: Final = timedelta(days=7)
# Longest difference between this machine's clock and the database's.
_LONGEST_SKEW: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Retention times."""

    history: timedelta
    audit: timedelta


def purge(database: Database, kept: Retention, now: datetime) -> int:
    """Delete what is too old at `now`; return how many rows.

    Of the history: events, answered commands, deliveries to webhooks that have ended, deleted strategies (with their
    steps, runs and outputs) and standalone steps. Nothing that is worked on is touched.
    """
    old = (*_old(now - kept.history), (audit, audit.c.at < now - kept.audit))
    return sum(_purge_table(database, table, condition) for table, condition in old)


def clock_doubt(database: Database, now: datetime) -> str | None:
    """Return why `now` may be wrong, as far as the rows and the database's clock know; None when it seems right.

    A wrong clock would have the whole history deleted. It is right when something was written in the 7 days before it,
    and has gone on being written for 7 days if there was a longer pause before.
    """
    with database.read() as connection:
        theirs = float(connection.execute(select(database_now())).scalar_one())
        if abs(theirs - now.timestamp()) > _LONGEST_SKEW.total_seconds():
            return "the clocks of this machine and of the database differ by more than a day"
        newest = _latest(connection, now)
        if newest is None or now - newest > LONGEST_PAUSE:
            return "no event, command or audit entry was written in the last 7 days"
        before = _latest(connection, now - LONGEST_PAUSE)
        first = _earliest(connection, now - LONGEST_PAUSE)
    if before is not None and first is not None and first - before > LONGEST_PAUSE:
        return f"nothing was written from {before:%Y-%m-%d} to {first:%Y-%m-%d}, which is less than 7 days ago"
    return None


def _latest(connection: Connection, until: datetime) -> datetime | None:
    """Return when the last row was written, at `until` at the latest."""
    found = [connection.execute(select(func.max(one)).where(one <= until)).scalar() for one in _WRITTEN_AT]
    return max((at for at in found if at is not None), default=None)


def _earliest(connection: Connection, after: datetime) -> datetime | None:
    """Return when the first row was written after a moment."""
    found = [connection.execute(select(func.min(one)).where(one > after)).scalar() for one in _WRITTEN_AT]
    return min((at for at in found if at is not None), default=None)


def _old(before: datetime) -> Sequence[tuple[Table, ColumnElement[bool]]]:
    return (
        # Not the newest: without it the number of a listener could not be told from one of another installation.
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
