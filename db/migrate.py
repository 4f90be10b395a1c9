"""Revision of a database's schema: the present one, those that this program knows, and the way to another."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import inspect, text

from db.database import Database

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to `revision`; a schema that is there already is left alone."""
    _alembic(database, "upgrade", revision)


def downgrade(database: Database, revision: str = "base") -> None:
    """Bring the schema down to `revision`; `base` removes every table and all data."""
    _alembic(database, "downgrade", revision)


def _alembic(database: Database, command: str, revision: str) -> None:
    # It takes longer to load than the rest of the database's code, and most processes find the newest schema.
    from alembic import command as commands  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = database.writer_engine
    getattr(commands, command)(config, revision)


def current_revision(database: Database) -> str | None:
    """Return the revision that the database is at; None for an empty one."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def known_revisions() -> list[str]:
    """Return this program's revisions, the oldest first: the numbers that the migrations' files begin with."""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def head_revision() -> str:
    """Return the newest revision that this program knows."""
    return known_revisions()[-1]
