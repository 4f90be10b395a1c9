"""Who gets in with a token of Keystone, and who does not (contract 2.2, 12.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from http.cookies import SimpleCookie
from time import monotonic
from typing import Any

import pytest

from db.database import Database
from tests.integration.keystone.keystone_api import LOGIN, VALIDATION, KeystoneApi, serve_with_keystone
from tests.support.keystone_server import KeystoneServer
from tests.support.served_api import Reply

STRATEGY = "/v1.0/sw-update-strategy"
READS = (f"{STRATEGY}/steps", "/v1.0/subclouds", "/v1.0/subcloud-groups")
CHANGES = (
    ("POST", STRATEGY, {"type": "prestage"}),
    ("DELETE", STRATEGY, b""),
    ("POST", f"{STRATEGY}/actions", {"action": "apply"}),
    ("POST", "/v1.0/subclouds/", {"name": "a"}),
    ("PATCH", "/v1.0/subclouds/a", {"description": "x"}),
    ("DELETE", "/v1.0/subclouds/a", b""),
    ("PATCH", "/v1.0/subclouds/a/prestage", {"sysadmin_password": "eA=="}),
    ("POST", "/v1.0/subcloud-groups/", {"name": "g"}),
    ("PATCH", "/v1.0/subcloud-groups/g", {"description": "x"}),
    ("DELETE", "/v1.0/subcloud-groups/g", b""),
)
MANAGING = ("PATCH", "/v1.0/subclouds/a", {"management-state": "managed"})


@pytest.mark.parametrize(
    ("user", "reads", "manages", "changes"),
    [
        ("admin", 200, 200, 200),
        ("configurator", 200, 200, 200),
        ("operator", 200, 200, 403),
        ("reader", 200, 403, 403),
        ("member", 200, 403, 403),
        ("stranger", 403, 403, 403),
        ("nobody", 403, 403, 403),
        ("prestager", 200, 200, 200),
    ],
)
async def test_who_may_do_what(
    api: KeystoneApi, keystone: KeystoneServer, user: str, reads: int, manages: int, changes: int
) -> None:
    """Roles and projects of Keystone decide; who is refused has changed nothing."""
    token = keystone.token(user)

    assert {reads} == {(await api.send("GET", path, token=token)).status for path in READS}
    assert manages == (await api.send(*MANAGING, token=token)).status
    assert {changes} == {(await api.send(*change, token=token)).status for change in CHANGES}
    allowed = (manages == 200) + (changes == 200) * len(CHANGES)
    assert allowed == len(api.served.transport.commands)


async def test_callers_differ(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """A caller's name tells users apart for good: it holds the id, for names come back and repeat among domains."""
    tokens = [keystone.token("admin"), keystone.token("admin"), keystone.token("configurator")]

    callers = [await api.authenticator.authenticate(token) for token in tokens]

    assert [f"admin ({keystone.id_of(tokens[0])})"] * 2 == [caller.name for caller in callers[:2]]
    assert f"configurator ({keystone.id_of(tokens[2])})" == callers[2].name


async def test_project_of_another_domain(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """A project that is only called admin, in a domain of somebody else, opens nothing."""
    assert await api.read(keystone.add_stranger_at("elsewhere")) == 403


@pytest.mark.parametrize("token", ["nonsense", "gAAAAABrA4", "x" * 4000, "prst_\xfc", "<b>", "two words"])
async def test_garbage(api: KeystoneApi, token: str) -> None:
    """What is no token is refused and not repeated."""
    reply = await api.send("DELETE", STRATEGY, token=token)

    assert (401, "Failed to validate access token: Auth token is invalid") == (reply.status, reply.detail)
    assert api.served.transport.commands == []


async def test_revoked(keystone: KeystoneServer, database: Database) -> None:
    """A revoked token works until its answer is too old, and no longer."""
    token = keystone.token("admin")
    async with serve_with_keystone(keystone, database, cache_s=1.0) as api:
        assert await api.read(token) == 200
        asked = monotonic()
        keystone.revoke(token)

        while await api.read(token) == 200:
            assert monotonic() < asked + 5.0
        refused = await api.read(token)

    assert refused == 401
    assert monotonic() > asked + 0.5


async def test_expired(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """A token that expires is refused at once, long before its answer is too old."""
    token, made = keystone.short_token("reader", 3.0), monotonic()
    assert await api.read(token) == 200

    while await api.read(token) == 200:
        assert monotonic() < made + 10.0

    assert await api.read(token) == 401


async def test_one_question(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """Many requests with one token make one validation, and later ones none."""
    token, before = keystone.token("admin"), len(keystone.seen())

    statuses = await asyncio.gather(*(api.read(token) for _ in range(20)))
    statuses.append(await api.read(token))

    assert [200] * 21 == statuses
    assert [LOGIN, VALIDATION] == keystone.seen()[before:]


async def test_no_cache(keystone: KeystoneServer, database: Database) -> None:
    """Without a cache each request asks, and a revoked token ends with the next."""
    token = keystone.token("admin")
    async with serve_with_keystone(keystone, database, cache_s=0) as api:
        assert await api.read(token) == 200
        keystone.revoke(token)

        assert await api.read(token) == 401


async def test_no_token_is_told(api: KeystoneApi, keystone: KeystoneServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither logs, also the most talkative, nor answers hold a token or our password."""
    caplog.set_level(logging.DEBUG)
    tokens = [keystone.token("admin"), keystone.token("nobody"), "nonsense-of-a-caller"]

    replies = [await api.send("GET", "/v1.0/subclouds", token=token) for token in tokens]

    told = caplog.text + "".join(reply.text for reply in replies)
    assert [200, 403, 401] == [reply.status for reply in replies]
    assert [] == [secret for secret in (*tokens, keystone.password) if secret in told]


PAGE = {"X-Prestager-UI": "1", "Origin": "http://testing"}


async def log_in(api: KeystoneApi, **way: str) -> tuple[Reply, Mapping[str, str]]:
    """Log in at the page; return the answer, and the headers of a browser with the cookie that came with it."""
    reply = await api.served.send("POST", "/ui/session", way, role=None, headers=PAGE)
    cookie = SimpleCookie[Any](reply.headers.get("set-cookie", ""))
    sent = "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())
    return reply, {**PAGE, "Cookie": sent} if sent else PAGE


async def read_by_session(api: KeystoneApi, browser: Mapping[str, str]) -> int:
    """Return the status of a small read from the page."""
    return (await api.served.send("GET", "/v1.0/subcloud-groups", role=None, headers=browser)).status


async def test_a_login_by_name_and_password(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """At the page a user of Keystone logs in for a project, with the roles there, and is the caller of what follows."""
    reply, browser = await log_in(api, username="configurator", password=keystone.password, project="admin")

    assert (200, "keystone") == (reply.status, reply.json["auth"]), reply.text
    assert reply.json["name"].startswith("configurator (")
    assert 0 < reply.json["expires-in-s"] <= 8 * 3600
    assert 200 == await read_by_session(api, browser)
    change = await api.served.send("DELETE", STRATEGY, role=None, headers=browser)
    assert 200 == change.status
    assert [reply.json["name"]] == [command.requested_by for command in api.served.transport.commands]


@pytest.mark.parametrize(
    ("user", "password", "project", "status"),
    [
        ("admin", "wrong-word", "admin", 401),
        ("missing", None, "admin", 401),
        ("admin", None, "missing", 401),
        ("nobody", None, "admin", 401),
    ],
)
async def test_a_login_that_is_refused(
    api: KeystoneApi,
    keystone: KeystoneServer,
    caplog: pytest.LogCaptureFixture,
    user: str,
    password: str | None,
    project: str,
    status: int,
) -> None:
    """A wrong name, password or project opens nothing, does not tell which of them it was, and is logged nowhere."""
    caplog.set_level(logging.DEBUG)
    given = password or keystone.password

    reply, browser = await log_in(api, username=user, password=given, project=project)

    assert status == reply.status
    assert "set-cookie" not in reply.headers
    assert 401 == await read_by_session(api, browser)
    assert given not in caplog.text + reply.text


async def test_a_session_ends_with_its_token(keystone: KeystoneServer, database: Database) -> None:
    """A session that stands for a token of Keystone ends with that: at its expiry, and once it is revoked."""
    async with serve_with_keystone(keystone, database, cache_s=0) as api:
        token = keystone.token("admin")
        reply, browser = await log_in(api, token=token)
        assert 200 == reply.status
        assert token not in str(browser)
        short, _ = await log_in(api, token=keystone.short_token("reader", 20.0))
        assert 0 < short.json["expires-in-s"] <= 20
        keystone.revoke(token)

        assert 401 == await read_by_session(api, browser)
