"""An SQLite file with the newest schema, copied from one that was migrated once: migrating takes longer than a test."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from db.database import Database
from db.migrate import upgrade


def place_migrated(file: Path) -> str:
    """Make the file and its directory, unless they are there, and return its SQLAlchemy address."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_bytes(_migrated())
    return f"sqlite:///{file}"


@cache
def _migrated() -> bytes:
    with TemporaryDirectory(prefix="prestager-database-") as directory:
        file = Path(directory) / "migrated.db"
        database = Database(f"sqlite:///{file}")
        upgrade(database)
        database.close()
        return file.read_bytes()
