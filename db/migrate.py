"""Bring a database's schema to another revision. `db.revisions` reads its present one."""

from __future__ import annotations

from alembic import command
from alembic.config import Config

from db.database import Database
from db.revisions import MIGRATIONS


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to `revision`; a schema that is there already is left alone."""
    command.upgrade(_config(database), revision)


def downgrade(database: Database, revision: str = "base") -> None:
    """Bring the schema down to `revision`; `base` removes every table and all data."""
    command.downgrade(_config(database), revision)


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = database.writer_engine
    return config
