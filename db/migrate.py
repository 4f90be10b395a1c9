"""Bring a database's schema to the newest revision, or tell where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.engine import Database

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["engine"] = database.writer_engine
    return config


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to `revision`; a schema that is there already is left alone."""
    command.upgrade(_config(database), revision)


def downgrade(database: Database, revision: str = "base") -> None:
    """Bring the schema down to `revision`; `base` removes every table and all data."""
    command.downgrade(_config(database), revision)


def current_revision(database: Database) -> str | None:
    """Return the revision that the database is at; None for an empty one."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """Return the newest revision that this program knows."""
    return _scripts().get_current_head()


def known_revisions() -> list[str]:
    """Return this program's revisions, the oldest first."""
    return [script.revision for script in _scripts().walk_revisions()][::-1]


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return ScriptDirectory.from_config(config)
