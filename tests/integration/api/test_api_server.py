from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from api.app import create_app
from api.auth import TokenAuthenticator
from api.docs_routes import Documents
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.tokens import TokenStore
from tests.support.served_api import RecordingTransport, ServedApi


@pytest.mark.parametrize("value", ["hid\x01den-token", "den-token" * 2000])
async def test_unreadable_request_is_logged_without_its_bytes(
    api: ServedApi, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, value: str
) -> None:
    """What the server cannot read is a bad request, and leaves no token in the log."""
    caplog.set_level(logging.DEBUG)

    reply = await api.send("GET", "/", role=None, headers={"X-Auth-Token": value})

    assert (reply.status, reply.json["title"]) == (400, "Bad Request")
    assert reply.detail == "The request is no HTTP that can be read, or a header is too long."
    assert "Error handling request" in caplog.text
    for text in (*capfd.readouterr(), caplog.text):
        assert "den-token" not in text


async def _ready() -> Mapping[str, str | None]:
    return {}


def test_building_connects_to_nothing(sealer: Sealer) -> None:
    """An application can be built before its database is there."""
    database = Database("sqlite:////none/such.db")

    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=RecordingTransport(),
        sealer=sealer,
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=_ready,
    )

    assert not app.frozen
