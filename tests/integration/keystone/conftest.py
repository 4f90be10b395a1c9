from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from db.database import Database
from tests.keystone_server import KeystoneServer
from tests.migrated_store import place_migrated

# The rig of the API's tests serves here too.
sys.path.append(str(Path(__file__).parents[1] / "api"))

from keystone_rig import KeystoneRig, serve_with_keystone


@pytest.fixture(scope="session")
def keystone() -> Iterator[KeystoneServer]:
    """A Keystone that runs, and that every test leaves so."""
    with KeystoneServer() as server:
        yield server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty store of the test's own."""
    database = Database(place_migrated(tmp_path / "prestager.db"))
    yield database
    database.close()


@pytest.fixture
async def rig(keystone: KeystoneServer, database: Database) -> AsyncIterator[KeystoneRig]:
    """The running API, which asks Keystone."""
    async with serve_with_keystone(keystone, database) as rig:
        yield rig
