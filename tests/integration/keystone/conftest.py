from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from db.database import Database
from tests.integration.keystone.keystone_api import KeystoneApi, serve_with_keystone
from tests.support.keystone_server import KeystoneServer
from tests.support.migrated_database import place_migrated


@pytest.fixture(scope="session")
def keystone() -> Iterator[KeystoneServer]:
    """A Keystone that runs, and that every test leaves so."""
    with KeystoneServer() as server:
        yield server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database of the test's own."""
    database = Database(place_migrated(tmp_path / "prestager.db"))
    yield database
    database.close()


@pytest.fixture
async def api(keystone: KeystoneServer, database: Database) -> AsyncIterator[KeystoneApi]:
    """The running API, which asks Keystone."""
    async with serve_with_keystone(keystone, database) as api:
        yield api
