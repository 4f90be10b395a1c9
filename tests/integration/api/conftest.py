from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from api.app import create_app
from api.auth import TokenAuthenticator
from api.connections import ConnectionBounds
from api.context import RequestLimits
from api.docs_routes import Documents
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.tokens import TokenStore
from tests.support.migrated_database import place_migrated
from tests.support.served_api import BOUNDS, RecordingTransport, ServedApi, serve

KEY = b"k" * 32


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database of the test's own."""
    database = Database(place_migrated(tmp_path / "prestager.db"))
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
def limits() -> RequestLimits:
    """The usual limits, with short times."""
    return RequestLimits(body_s=0.5, readiness_s=0.2)


@pytest.fixture
def bounds() -> ConnectionBounds:
    """The bounds of connections; none is ever reached."""
    return BOUNDS


@pytest.fixture
async def api(
    database: Database, sealer: Sealer, checks: dict[str, str | None], limits: RequestLimits, bounds: ConnectionBounds
) -> AsyncIterator[ServedApi]:
    """The running API."""

    async def readiness() -> Mapping[str, str | None]:
        return checks

    transport = RecordingTransport()
    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=transport,
        sealer=sealer,
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=readiness,
        limits=limits,
    )
    async with serve(app, database, transport, bounds) as api:
        yield api
