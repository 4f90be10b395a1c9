"""Check whether the schema may be brought down: processes that use the database, and rows that would be lost.

The database may be of any revision of this program, so tables that newer revisions made are looked for first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from alembic.script import ScriptDirectory
from sqlalchemy import ColumnElement, Connection, Row, func, inspect, select, text

from db.database import Database
from db.heartbeats import heartbeat_age, is_alive
from db.migrate import MIGRATIONS, known_revisions
from db.schema import database_now, heartbeats, runs, webhooks
from statemachine.states import RunState

_LONGEST_LEASE_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class DatabaseUse:
    """Signs that processes use a database now, or did until a moment ago."""

    # When each living process was seen last, by its id, in seconds of the database's clock.
    seen: dict[str, float]
    # One sentence for each process, and for leases that have not ended.
    signs: tuple[str, ...]

    def goes_on_in(self, later: DatabaseUse) -> bool:
        """Tell whether a process has reported itself between two looks: then it is alive for sure."""
        return any(later.seen.get(process, seen) > seen for process, seen in self.seen.items())


def database_use(database: Database) -> DatabaseUse:
    """Return what says that a database is in use."""
    with database.read() as connection:
        tables = set(inspect(connection).get_table_names())
        processes = _living(connection) if heartbeats.name in tables else []
        signs = [_sentence(process) for process in processes]
        if runs.name in tables:
            signs += _leased_runs(connection)
        if webhooks.name in tables:
            signs += _claimed_webhooks(connection)
    return DatabaseUse(seen={process.process: process.seen_epoch for process in processes}, signs=tuple(signs))


def downgrade_refusals(database: Database, current: str, target: str) -> list[str]:
    """Return why a downgrade from one revision to an older one must not be done now, with what to do first.

    Each migration may list it as `REFUSALS`: texts about an id, and statements that return the ids.
    """
    return [
        sentence.format(id=found)
        for module in _undone(current, target)
        for sentence, statement in getattr(module, "REFUSALS", ())
        for found in _first_column(database, statement)
    ]


def downgrade_losses(database: Database, current: str, target: str) -> list[str]:
    """Return what a downgrade from one revision of this program to an older one loses, with counts.

    Each migration lists it as `LOSSES`: texts, and statements that count.
    """
    return [
        f"{sentence}: {count}"
        for module in _undone(current, target)
        for sentence, statement in getattr(module, "LOSSES", ())
        for count in _first_column(database, statement)
        if count
    ]


def _undone(current: str, target: str) -> list[ModuleType]:
    """Return the migrations that a downgrade undoes, the newest first."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    known = known_revisions()
    undone = known[known.index(target) + 1 : known.index(current) + 1]
    return [scripts.get_revision(revision).module for revision in reversed(undone)]


def _first_column(database: Database, statement: str) -> Sequence[Any]:
    with database.read() as connection:
        return connection.execute(text(statement)).scalars().all()


def _living(connection: Connection) -> Sequence[Row[Any]]:
    # Named, for an older revision may not have all columns.
    columns = (heartbeats.c.process, heartbeats.c.role, heartbeats.c.name, heartbeats.c.host, heartbeats.c.seen_epoch)
    return connection.execute(select(*columns, heartbeat_age().label("age_s")).where(is_alive())).all()


def _sentence(process: Row[Any]) -> str:
    return f"{process.role} {process.name} on {process.host} was seen {max(0, round(process.age_s))} s ago."


def _leased_runs(connection: Connection) -> list[str]:
    left = runs.c.lease_until - database_now()
    query = select(func.count(), func.max(left)).where(
        ~runs.c.consumed, runs.c.state == RunState.RUNNING, _is_held(runs.c.lease_until)
    )
    count, longest_s = connection.execute(query).one()
    return [f"Runs leased to workers, for up to {longest_s:.0f} s more: {count}."] if count else []


def _claimed_webhooks(connection: Connection) -> list[str]:
    left = webhooks.c.claimed_until - database_now()
    query = select(func.count(), func.max(left)).where(_is_held(webhooks.c.claimed_until))
    count, longest_s = connection.execute(query).one()
    return [f"Webhooks leased to a coordinator, for up to {longest_s:.0f} s more: {count}."] if count else []


def _is_held(until: ColumnElement[float]) -> ColumnElement[bool]:
    # No lease is longer: one that is was given before the database's clock was set back.
    return until.between(database_now(), database_now() + _LONGEST_LEASE_S)
