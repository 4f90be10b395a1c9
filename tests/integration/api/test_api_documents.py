"""The documents as they are served."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.app import create_app
from api.auth import TokenAuthenticator
from api.docs_routes import Documents
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.tokens import TokenStore
from tests.support.served_api import RecordingTransport, ServedApi, serve

DOCS = Path(__file__).parents[3] / "docs"


async def test_the_document_is_served_as_committed(api: ServedApi) -> None:
    """Anybody reads the document, and it is the committed one, to the byte."""
    reply = await api.send("GET", "/openapi.json", role=None)

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert reply.body == (DOCS / "openapi.json").read_bytes()


async def test_the_page_is_served_with_a_strict_policy(api: ServedApi) -> None:
    """Anybody reads the page; a browser runs nothing in it and fetches nothing for it."""
    reply = await api.send("GET", "/docs", role=None)

    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "/v1.0/sw-update-strategy" in reply.text
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_documents_are_only_read(api: ServedApi, path: str) -> None:
    """Nothing but GET and HEAD is allowed, as the answer says."""
    reply = await api.send("POST", path, role=None)

    assert (reply.status, reply.headers["allow"]) == (405, "GET,HEAD")
    assert (await api.send("HEAD", path, role=None)).status == 200


@pytest.mark.parametrize(("started", "status"), [(True, 200), (False, 503)])
async def test_started(database: Database, sealer: Sealer, started: bool, status: int) -> None:
    """/startupz is 503 until the process was ready once, for anybody."""
    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=RecordingTransport(),
        sealer=sealer,
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=_never_asked,
        started=lambda: started,
    )
    async with serve(app, database, RecordingTransport()) as api:
        reply = await api.send("GET", "/startupz", role=None)

    assert (reply.status, reply.json) == (status, {"started": started})


async def _never_asked() -> dict[str, str | None]:
    raise AssertionError("starting is no matter of being ready")
