"""Alembic's environment: connects through an engine given by `db.migrate`.

Parts of one installation that start together migrate in turn; the second one finds the work done.
"""

from __future__ import annotations

from typing import Final

from alembic import context
from sqlalchemy import Connection, text

from db.schema import metadata

# Key of the advisory lock of migrations; any number that no other program uses.
_LOCK: Final = 0x7072657374616765
# How long another part's migration is waited for; our connections wait for no other lock as long.
_WAIT: Final = "300s"


def _take_turn(connection: Connection) -> None:
    """Wait until no other process migrates; SQLite did so when the writing transaction began."""
    if connection.dialect.name != "postgresql":
        return
    connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT}'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    # The migrations themselves must not queue in front of a running service.
    connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
    connection.execute(text("SET LOCAL statement_timeout TO DEFAULT"))


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, transaction_per_migration=False
    )
    with context.begin_transaction():
        context.run_migrations()


with context.config.attributes["engine"].begin() as connection:
    _take_turn(connection)
    _run(connection)
