from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from db.engine import Database
from db.migrate import upgrade
from tests.keystone_server import KeystoneServer

# The rig of the API's tests serves here too.
sys.path.append(str(Path(__file__).parents[1] / "api"))

from keystone_rig import KeystoneRig, serve_with_keystone


@pytest.fixture(scope="session")
def keystone() -> Iterator[KeystoneServer]:
    """A Keystone that runs, and that every test leaves so."""
    with KeystoneServer() as server:
        yield server


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy from."""
    file = tmp_path_factory.mktemp("keystone-store") / "empty.db"
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
async def rig(keystone: KeystoneServer, database: Database) -> AsyncIterator[KeystoneRig]:
    """The running API, which asks Keystone."""
    async with serve_with_keystone(keystone, database) as rig:
        yield rig
