from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from api.app import create_app
from api.auth import Caller, TokenAuthenticator
from api.context import Readiness, RequestLimits
from api.docs_routes import Documents
from api.errors import AuthenticatorUnavailableError
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.tokens import TokenStore
from tests.support.served_api import RecordingTransport, ServedApi, serve


async def test_versions(api: ServedApi) -> None:
    """The root tells the only version, to anybody."""
    assert (await api.send("GET", "/", role=None)).json == {
        "versions": [
            {
                "status": "CURRENT",
                "id": "v1.0",
                "updated": "2017-10-2",
                "links": [{"rel": "self", "href": "http://testing/v1.0/"}],
            }
        ]
    }


async def test_alive(api: ServedApi) -> None:
    """Being alive needs no token and no database."""
    api.database.close()

    assert (await api.send("GET", "/livez", role=None)).json == {"alive": True}


async def test_ready(api: ServedApi) -> None:
    """Ready is 200 with each check's result."""
    reply = await api.send("GET", "/readyz", role=None)

    assert (reply.status, reply.json) == (200, {"ready": True, "checks": {"database": "ok", "broker": "ok"}})


async def test_not_ready(api: ServedApi, checks: dict[str, str | None]) -> None:
    """One failed check makes 503, and is named."""
    checks["broker"] = "not connected"

    reply = await api.send("GET", "/readyz", role=None)

    assert reply.status == 503
    assert reply.json == {"ready": False, "checks": {"database": "ok", "broker": "not connected"}}


async def test_broken_playbooks(api: ServedApi, checks: dict[str, str | None]) -> None:
    """What a process says of its playbooks is told and makes no 503: its API serves all the same."""
    checks["playbooks"] = "x.yml is not valid YAML at line 1."

    reply = await api.send("GET", "/readyz", role=None)

    assert (reply.status, reply.json["ready"]) == (200, True)
    assert reply.json["checks"]["playbooks"] == checks["playbooks"]


async def _hang() -> Mapping[str, str | None]:
    await asyncio.Event().wait()
    return {}


async def _break() -> Mapping[str, str | None]:
    raise RuntimeError("postgresql://user:hidden@host")


@pytest.mark.parametrize(
    ("readiness", "fault"), [(_hang, "no result within 0.1 s"), (_break, "the check itself failed")]
)
async def test_check_that_fails_itself(database: Database, sealer: Sealer, readiness: Readiness, fault: str) -> None:
    """A check that hangs or breaks is not ready, and tells nothing of the inside."""
    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=RecordingTransport(),
        sealer=sealer,
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=readiness,
        limits=RequestLimits(readiness_s=0.1),
    )
    async with serve(app, database, RecordingTransport()) as api:
        reply = await api.send("GET", "/readyz", role=None)

    assert reply.status == 503
    assert reply.json == {"ready": False, "checks": {"readiness": fault}}


class _Away:
    """An authenticator whose service does not answer."""

    async def authenticate(self, token: str | None) -> Caller:
        raise AuthenticatorUnavailableError


async def test_authenticator_is_away(database: Database, sealer: Sealer) -> None:
    """When nobody can tell who calls, the answer is to come back, not that the token is bad."""
    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=RecordingTransport(),
        sealer=sealer,
        authenticator=_Away(),
        readiness=_hang,
    )
    async with serve(app, database, RecordingTransport()) as api:
        reply = await api.send("GET", "/v1.0/subclouds")

    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert reply.detail == "The identity service is not available."
