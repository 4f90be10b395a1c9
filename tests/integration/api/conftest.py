from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from api_rig import RecordingTransport, Rig, serve

from api.app import create_app
from api.auth import TokenAuthenticator
from api.context import Limits
from db.engine import Database
from db.migrate import upgrade
from db.sealing import Sealer
from db.tokens import TokenStore

KEY = b"k" * 32


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy from: migrating takes far longer than a test."""
    file = tmp_path_factory.mktemp("api-store") / "empty.db"
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
def sealer() -> Sealer:
    """The sealer of the API, to open what it sealed."""
    return Sealer(KEY)


@pytest.fixture
def checks() -> dict[str, str | None]:
    """What the readiness checks find; a test may change it."""
    return {"database": None, "broker": None}


@pytest.fixture
def limits() -> Limits:
    """The usual limits, with short times."""
    return Limits(body_s=0.5, readiness_s=0.2)


@pytest.fixture
async def rig(database: Database, sealer: Sealer, checks: dict[str, str | None], limits: Limits) -> AsyncIterator[Rig]:
    """The running API."""

    async def readiness() -> Mapping[str, str | None]:
        return checks

    transport = RecordingTransport()
    app = create_app(
        database=database,
        transport=transport,
        sealer=sealer,
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=readiness,
        limits=limits,
    )
    async with serve(app, database, transport) as rig:
        yield rig
