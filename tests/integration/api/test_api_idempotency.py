from __future__ import annotations

import pytest

from db.tokens import Role, TokenStore
from tests.support.served_api import ServedApi

PATH = "/v1.0/sw-update-strategy"
BODY = {"type": "prestage", "sysadmin_password": "TGk2OW51eCo="}


async def test_key_is_the_command_id(api: ServedApi) -> None:
    """The same key of the same caller is the same command, whose content is equal."""
    for _ in range(2):
        await api.send("POST", PATH, BODY, headers={"Idempotency-Key": "nightly 7"})

    first, second = api.transport.commands
    assert first.id == second.id == "admin/nightly 7"
    assert first.digest() == second.digest()


async def test_callers_do_not_meet(api: ServedApi) -> None:
    """The same key of another caller is another command, however the two are called."""
    for name in ("a", "a/b", "a%2Fb"):
        token = TokenStore(api.database).create_token(name, Role.ADMIN)
        for key in ("b/c", "c"):
            await api.send("POST", PATH, BODY, role=None, headers={"X-Auth-Token": token, "Idempotency-Key": key})

    assert len({command.id for command in api.transport.commands}) == 6


async def test_without_a_key(api: ServedApi) -> None:
    """Without a key each request is a command of its own."""
    for _ in range(2):
        await api.send("POST", PATH, BODY)

    assert len({command.id for command in api.transport.commands}) == 2


async def test_long_names(api: ServedApi) -> None:
    """A long name with a long key still makes an id that can be kept."""
    token = TokenStore(api.database).create_token("ü" * 200, Role.ADMIN)

    await api.send("POST", PATH, BODY, role=None, headers={"X-Auth-Token": token, "Idempotency-Key": "k" * 200})

    assert len(api.transport.only.id) == 64


@pytest.mark.parametrize("key", ["", "k" * 201, "schlüssel", "a\tb"])
async def test_wrong_keys(api: ServedApi, key: str) -> None:
    """A key has 1 to 200 printable ASCII characters."""
    reply = await api.send("POST", PATH, BODY, headers={"Idempotency-Key": key})

    assert (reply.status, reply.detail) == (400, "Idempotency-Key must have 1 to 200 printable ASCII characters")
    assert api.transport.commands == []
