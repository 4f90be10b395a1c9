"""Make a database that was restored from a backup safe to go on with.

A restored database would give ids again that it had given after the backup: sites would refuse its runs, whose ids are
the fencing tokens, and followers would take new events for old ones. All ids jump to a number made of this machine's
clock, which is above every number given before. No site is asked for a number: a compromised one could name the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Table, delete, func, select, text, update

from db.errors import RestoreError
from db.heartbeats import living_processes
from db.inventory import installation_id
from db.schema import audit, commands, events, heartbeats, metadata, runs, steps
from db.unit_of_work import UnitOfWork
from messages.event_types import RESTORED, DatabaseRestored
from statemachine.states import RunOutcome, RunState, StepState

# What our playbooks' lock of a site says to a run that is older than the newest it has seen.
_REFUSED_BY_SITE: Final = "Superseded by a newer run"
# Numbers of a clock that a restore may jump to: JSON clients hold integers up to 2^53.
_LARGEST: Final = 2**53


@dataclass(frozen=True, kw_only=True)
class Restored:
    """Changes that were made."""

    # All ids given from now on are larger.
    ids_after: int
    # When the newest event, command or audit entry of the backup was written; None: it has none.
    newest_at: datetime | None
    # Runs that had not ended in the backup; they are begun anew.
    runs_begun_anew: int


def continue_after_restore(work: UnitOfWork, *, trust_clock: bool = False) -> Restored:
    """Let all ids jump above those given before and after the backup, and begin unfinished runs anew; emit an event.

    `work` has the coordinator's lock, so that no coordinator goes on beside. The number is its moment in milliseconds:
    ids that grow by less than 1,000 a second never reach it. A repeat makes another jump and harms nothing. With
    `trust_clock` rows of the future do not count: a clock was ahead once.

    Raises:
        RestoreError: A process of the service is alive, or the clock is behind the rows or behind an earlier jump.
    """
    connection, now = work.connection, work.at
    _expect_stopped(connection)
    newest_at = _newest_at(connection)
    if newest_at is not None and now < newest_at and not trust_clock:
        raise RestoreError(
            f"This machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC, but the backup has rows of"
            f" {newest_at:%Y-%m-%d %H:%M:%S} UTC. Set the clock, then try again; if it is right, and was ahead when"
            " those rows were written, add --trust-clock. Nothing was changed."
        )
    ids_after = int(now.timestamp() * 1000)
    _expect_above(connection, ids_after)
    begun_anew = _begin_anew(connection, now)
    for table in _numbered_tables():
        _jump(connection, table, ids_after)
    connection.execute(delete(heartbeats))
    _emit_restored(work, newest_at)
    return Restored(ids_after=ids_after, newest_at=newest_at, runs_begun_anew=begun_anew)


def refused_by_sites(connection: Connection, since: datetime) -> int:
    """Return how many runs sites have refused since a moment as older than what they have seen.

    Those from before the last `continue_after_restore` do not count.
    """
    last_jump = select(func.coalesce(func.max(events.c.id), 0)).where(events.c.type == RESTORED).scalar_subquery()
    refused = runs.c.details.contains(_REFUSED_BY_SITE, autoescape=True)
    query = select(func.count()).where(runs.c.outcome == RunOutcome.FAILED, refused, runs.c.finished_at >= since)
    return int(connection.execute(query.where(runs.c.id >= last_jump)).scalar_one())


def _expect_stopped(connection: Connection) -> None:
    alive = living_processes(connection)
    if alive:
        names = ", ".join(f"{row['role']} {row['name']} on {row['host']}" for row in alive)
        raise RestoreError(
            f"Processes of the service were seen within the last 30 s: {names}. Stop them, or if the backup was taken"
            " just now, wait 30 s; then try again. Nothing was changed."
        )


def _newest_at(connection: Connection) -> datetime | None:
    moments = (events.c.at, commands.c.created_at, audit.c.at)
    found = [connection.execute(select(func.max(moment))).scalar() for moment in moments]
    return max((at for at in found if at is not None), default=None)


def _expect_above(connection: Connection, ids_after: int) -> None:
    largest = max(_largest_id(connection, table) for table in _numbered_tables())
    if not largest < ids_after < _LARGEST:
        raise RestoreError(
            f"Ids have reached {largest} already, which this machine's clock ({ids_after} ms since 1970) does not"
            " exceed: it was ahead at an earlier restore, or is behind now. Set it, then try again. Nothing was"
            " changed."
        )


def _numbered_tables() -> list[Table]:
    """Return the tables whose ids are never given twice."""
    return [table for table in metadata.sorted_tables if table.dialect_options["sqlite"]["autoincrement"]]


def _largest_id(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one())


def _jump(connection: Connection, table: Table, ids_after: int) -> None:
    values = {"name": table.name, "number": ids_after}
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :number)"), values)
        return
    changed = connection.execute(text("UPDATE sqlite_sequence SET seq = :number WHERE name = :name"), values)
    if not changed.rowcount:
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"), values)


def _begin_anew(connection: Connection, now: datetime) -> int:
    """End the runs that were waiting or at work, at no cost of an attempt: new ones get ids that sites accept."""
    unfinished = runs.c.state.in_((RunState.QUEUED, RunState.RUNNING))
    # A step whose first run no worker has begun counts as one without a run.
    waiting = select(runs.c.id).where(runs.c.state == RunState.QUEUED)
    unbegun = (steps.c.state == StepState.INITIAL) & steps.c.run_id.in_(waiting)
    withdrawn = connection.execute(select(steps.c.run_id).where(unbegun)).scalars().all()
    connection.execute(update(steps).where(unbegun).values(run_id=None, version=steps.c.version + 1, updated_at=now))
    ended = {"state": RunState.FINISHED, "lease_until": None, "finished_at": now}
    connection.execute(
        update(runs)
        .where(runs.c.id.in_(withdrawn), unfinished)
        .values(**ended, outcome=RunOutcome.WITHDRAWN, consumed=True)
    )
    drained = connection.execute(update(runs).where(unfinished).values(**ended, outcome=RunOutcome.DRAINED)).rowcount
    return len(withdrawn) + drained


def _emit_restored(work: UnitOfWork, newest_at: datetime | None) -> None:
    subject = f"installation/{installation_id(work.connection)}"
    work.emit(RESTORED, subject, DatabaseRestored(newest_at=None if newest_at is None else newest_at.isoformat()))
