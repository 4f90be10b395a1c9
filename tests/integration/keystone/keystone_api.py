"""The API on a real socket that knows its callers by a real Keystone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from api.app import create_app
from api.context import PageServices
from api.docs_routes import Documents
from api.keystone.authenticator import KeystoneAuthenticator
from api.keystone.identity import KeystoneIdentity, ServiceAccount
from api.login_tries import LoginTries
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.tokens import LoginCodes
from tests.support.keystone_server import KeystoneServer, Seen
from tests.support.served_api import RecordingTransport, Reply, ServedApi, serve

VALIDATION = Seen(method="GET", path="/v3/auth/tokens", status=200)
LOGIN = Seen(method="POST", path="/v3/auth/tokens", status=201)


def identity(
    keystone: KeystoneServer, port: int | None = None, timeout_s: float = 4.0, **changes: Any
) -> KeystoneIdentity:
    """Return what asks Keystone as the service user, perhaps through a proxy at `port`."""
    fields = {
        "auth_url": keystone.url_at(port or keystone.port),
        "username": keystone.service_user,
        "password": keystone.password,
        "user_domain": "Default",
        "project": "services",
        "project_domain": "Default",
        "ca_file": None,
    }
    return KeystoneIdentity(ServiceAccount(**(fields | changes)), timeout_s)


@dataclass
class KeystoneApi:
    """A running API and what its tests need around it."""

    served: ServedApi
    authenticator: KeystoneAuthenticator

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] = b"",
        *,
        token: str,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request with a token."""
        return await self.served.send(method, path, body, role=None, headers={"X-Auth-Token": token, **(headers or {})})

    async def read(self, token: str) -> int:
        """Return the status of a small read."""
        return (await self.send("GET", "/v1.0/subcloud-groups", token=token)).status


@asynccontextmanager
async def serve_with_keystone(
    keystone: KeystoneServer, database: Database, *, cache_s: float = 60.0, timeout_s: float = 4.0, **account: Any
) -> AsyncIterator[KeystoneApi]:
    """Run the API; `account` is what `identity` takes."""
    authenticator = KeystoneAuthenticator(
        identity(keystone, timeout_s=timeout_s, **account), timeout_s=timeout_s, cache_s=cache_s
    )

    async def readiness() -> Mapping[str, str | None]:
        return {"keystone": await authenticator.unavailable_reason()}

    transport = RecordingTransport()
    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=transport,
        sealer=Sealer(b"k" * 32),
        authenticator=authenticator,
        readiness=readiness,
        # The tests call their host by a name.
        page=PageServices(codes=LoginCodes(database), tries=LoginTries(), may_be_plain=True),
    )
    async with serve(app, database, transport) as api:
        try:
            yield KeystoneApi(api, authenticator)
        finally:
            authenticator.close()
