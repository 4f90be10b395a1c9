from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from db.engine import Database
from db.migrate import upgrade


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy from: migrating takes far longer than a test."""
    file = tmp_path_factory.mktemp("db-store") / "empty.db"
    database = Database(f"sqlite:///{file}")
    upgrade(database)
    database.close()
    return file


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    """An empty store of the test's own."""
    file = tmp_path / "prestager.db"
    shutil.copy(empty_store, file)
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """One writing transaction for the whole test: what matters is what the statements do, not the disk."""
    with database.write() as connection:
        yield connection
