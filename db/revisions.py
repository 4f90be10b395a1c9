"""Revision of a database's schema, and the revisions that this program knows.

Without Alembic, which takes longer to load than the rest of the database's code: most processes find the newest schema
and never migrate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import inspect, text

from db.database import Database

MIGRATIONS: Final = Path(__file__).parent / "migrations"


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
