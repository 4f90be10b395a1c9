"""A database that says nothing, and a caller who says it wrong: both get their answer, and neither holds anybody up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Event
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection

from api import database_reader as reads
from api.auth import TokenAuthenticator
from api.database_reader import DatabaseReader
from api.errors import ApiError, AuthenticatorUnavailableError
from db.database import Database
from db.tokens import Role, TokenStore
from tests.support.served_api import ServedApi, multipart
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def silence() -> Iterator[Event]:
    """Give what ends the silence of a database."""
    over = Event()
    yield over
    over.set()


async def test_a_silent_database_is_answered_503(
    database: Database, silence: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that never returns is answered 503 with Retry-After; when the database is back queries work again."""
    monkeypatch.setattr(reads, "DATABASE_TIMEOUT_S", 0.05)
    mine = DatabaseReader(database)

    def wait(_: Connection) -> None:
        silence.wait(PATIENCE_S)

    for _ in range(6):
        with pytest.raises(ApiError) as refusal:
            await mine.run(wait)
        assert (503, {"Retry-After": "5"}) == (refusal.value.status, refusal.value.headers)
    silence.set()
    monkeypatch.setattr(reads, "DATABASE_TIMEOUT_S", 5.0)

    assert 1 == await mine.run(lambda connection: connection.exec_driver_sql("SELECT 1").scalar_one())
    mine.close()


async def test_a_silent_token_database_knows_nobody(silence: Event) -> None:
    """While nobody can tell who calls, the answer is that, and not that the token is wrong."""

    class Silent:
        def authenticate(self, _: str) -> Any:
            silence.wait(PATIENCE_S)

    with pytest.raises(AuthenticatorUnavailableError):
        await TokenAuthenticator(Silent(), timeout_s=0.05).authenticate("prst_x")  # type: ignore[arg-type]


async def test_threads_of_their_own_for_tokens(database: Database, silence: Event) -> None:
    """Whatever holds up the threads that all share, callers are still known."""
    token = TokenStore(database).create_token("ops", Role.ADMIN)
    authenticator = TokenAuthenticator(TokenStore(database))
    busy = [asyncio.create_task(asyncio.to_thread(silence.wait, PATIENCE_S)) for _ in range(100)]
    await asyncio.sleep(0)

    assert "ops" == (await authenticator.authenticate(token)).name
    silence.set()
    await asyncio.gather(*busy)
    authenticator.close()


async def test_no_more_callers_wait_than_can_be_served(silence: Event) -> None:
    """While the database of tokens says nothing, callers beyond a number are told so at once."""

    class Silent:
        def authenticate(self, _: str) -> Any:
            silence.wait(PATIENCE_S)

    authenticator = TokenAuthenticator(Silent(), timeout_s=1.0)  # type: ignore[arg-type]
    waiting = [asyncio.create_task(authenticator.authenticate(f"prst_{number}")) for number in range(256)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    began = monotonic()
    with pytest.raises(AuthenticatorUnavailableError):
        await authenticator.authenticate("prst_x")

    assert {AuthenticatorUnavailableError} == {type(one) for one in found}
    assert monotonic() - began < 0.5
    authenticator.close()


@pytest.mark.parametrize(
    "disposition",
    [b"form-data; name=", b"form-data; name", b'form-data; name="a"; name="b"', b'@; name="a"', b"form-data; n@=1; ;"],
)
async def test_a_part_with_a_wrong_head(api: ServedApi, disposition: bytes) -> None:
    """A part whose head cannot be read is answered 400, and is no warning, which here would be an error."""
    body, headers = multipart(("bootstrap_values", "f.yml", b"name: a\n"))
    whole = body.replace(b'form-data; name="bootstrap_values"; filename="f.yml"', disposition)
    assert whole != body

    reply = await api.send("POST", "/v1.0/subclouds", whole, headers=headers)

    assert 400 == reply.status
