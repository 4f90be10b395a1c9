"""How Alembic reaches the database: always through an engine given by `db.migrate`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from db.schema import metadata


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, transaction_per_migration=False
    )
    with context.begin_transaction():
        context.run_migrations()


with context.config.attributes["engine"].begin() as connection:
    _run(connection)
