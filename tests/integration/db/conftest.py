from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection

from db.database import Database
from tests.integration.db.db_rows import InstallationRows


@pytest.fixture
def database(new_database_url: Callable[..., str]) -> Iterator[Database]:
    """An empty database of the test's own, on SQLite and on PostgreSQL."""
    database = Database(new_database_url())
    yield database
    database.close()


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """One writing transaction for the whole test: what matters is what the statements do, not the disk."""
    with database.write() as connection:
        yield connection


@pytest.fixture
def installation(connection: Connection) -> InstallationRows:
    """Four sites."""
    installation = InstallationRows(connection)
    installation.add_subclouds(4)
    return installation
