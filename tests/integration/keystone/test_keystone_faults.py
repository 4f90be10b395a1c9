"""What callers get when Keystone is away, frozen, slow, forgetful, or knows us not."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from time import monotonic

import pytest

from api.errors import AuthenticatorUnavailableError
from api.keystone.authenticator import KeystoneAuthenticator
from db.database import Database
from tests.integration.keystone.keystone_api import LOGIN, VALIDATION, KeystoneApi, identity, serve_with_keystone
from tests.support.keystone_server import KeystoneServer
from tests.support.served_api import Reply
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import BUSY_FACTOR, PATIENCE_S

HASTE_S = 1.5
# For all of a crowd together; one after the other would take minutes.
CROWD_S = 4.5 * BUSY_FACTOR
AWAY = "The identity service is not available."


@pytest.fixture
def proxy(keystone: KeystoneServer) -> Iterator[TcpProxy]:
    """A network between us and Keystone."""
    with TcpProxy(keystone.port) as proxy:
        yield proxy


@pytest.fixture
async def hasty(keystone: KeystoneServer, database: Database) -> AsyncIterator[KeystoneApi]:
    """An API that waits for Keystone only a little, so that a test need not."""
    async with serve_with_keystone(keystone, database, timeout_s=HASTE_S) as api:
        yield api


async def ask(api: KeystoneApi, token: str) -> Reply:
    """Return the answer to a change, which comes within five seconds on a machine that has nothing else to do."""
    async with asyncio.timeout(5.0 * BUSY_FACTOR):
        return await api.send("DELETE", "/v1.0/sw-update-strategy", token=token)


def assert_away(api: KeystoneApi, reply: Reply) -> None:
    """Fail unless the caller was asked to come again, and nothing was done."""
    assert (503, AWAY) == (reply.status, reply.detail)
    assert reply.headers["retry-after"] == "5"
    assert api.served.transport.commands == []


async def test_frozen(hasty: KeystoneApi, keystone: KeystoneServer) -> None:
    """A frozen Keystone lets nobody new in; whoever is remembered is served; all is well when it goes on."""
    known, new = keystone.token("reader"), keystone.token("admin")
    assert await hasty.read(known) == 200
    keystone.pause()
    try:
        reply = await ask(hasty, new)
        assert await hasty.read(known) == 200
    finally:
        keystone.resume()

    assert_away(hasty, reply)
    end = monotonic() + PATIENCE_S
    # It has what was asked meanwhile to deal with first.
    while (reply := await ask(hasty, new)).status == 503:
        assert monotonic() < end
    assert reply.status == 200


async def test_killed_and_without_memory(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """A Keystone that is gone lets nobody new in; back with new keys it knows nobody, and us after a new login."""
    old = keystone.token("admin")
    assert await api.read(keystone.token("reader")) == 200
    keystone.kill()
    try:
        reply = await ask(api, old)
        keystone.renew_keys()
    finally:
        keystone.start()
    keystone.renew_admin()

    assert_away(api, reply)
    assert await api.read(old) == 401
    assert (await ask(api, keystone.token("admin"))).status == 200


async def test_stale_service_token(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """When our own token has died, one new login and a repeat bring the answer, however many ask."""
    assert await api.read(keystone.token("reader")) == 200
    callers = [keystone.token(user) for user in ("admin", "configurator", "operator", "member")]
    keystone.disable(keystone.service_user)
    keystone.enable(keystone.service_user)
    before = len(keystone.seen())

    statuses = await asyncio.gather(*(api.read(token) for token in callers))

    assert [200] * 4 == statuses
    seen = keystone.seen()[before:]
    assert [LOGIN] == [one for one in seen if one.method == "POST"]
    assert 4 == seen.count(VALIDATION)


async def test_refused_service_user(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """A service user that Keystone no longer takes is our fault, not the caller's."""
    token = keystone.token("admin")
    keystone.disable(keystone.service_user)
    try:
        reply = await ask(api, token)
        assert "Keystone refuses the service user" == await api.authenticator.unavailable_reason()
    finally:
        keystone.enable(keystone.service_user)

    assert_away(api, reply)
    assert (await ask(api, token)).status == 200


@pytest.mark.parametrize(
    "account",
    [
        {"password": "wrong"},
        {"username": "nobody", "project": "admin"},
        # May log in, but not ask about others.
        {"username": "reader", "project": "admin"},
    ],
)
async def test_wrong_service_user(keystone: KeystoneServer, database: Database, account: dict[str, str]) -> None:
    """A service user that cannot log in, or may not ask about tokens, lets nobody in."""
    async with serve_with_keystone(keystone, database, **account) as api:
        assert_away(api, await ask(api, keystone.token("admin")))
        assert "Keystone refuses the service user" == await api.authenticator.unavailable_reason()


@pytest.mark.parametrize("fault", ["swallow", "trickle", "reset"])
async def test_network(keystone: KeystoneServer, database: Database, proxy: TcpProxy, fault: str) -> None:
    """A network that loses or drips is an answer in time, and forgotten when it is whole again."""
    async with serve_with_keystone(keystone, database, port=proxy.port, timeout_s=HASTE_S) as api:
        token = keystone.token("admin")
        getattr(proxy, fault)()
        assert_away(api, await ask(api, token))
        proxy.pass_on()

        end = monotonic() + PATIENCE_S
        while (await ask(api, token)).status == 503:
            assert monotonic() < end

        assert (await ask(api, token)).status == 200


async def test_slow(keystone: KeystoneServer, database: Database, proxy: TcpProxy) -> None:
    """A slow Keystone costs patience once; what it answers counts although nobody waited for it."""
    async with serve_with_keystone(keystone, database, port=proxy.port, timeout_s=0.6) as api:
        token = keystone.token("admin")
        # Each call takes 0.4 s, so that a login and a question are too much at once.
        proxy.delay(200)
        assert_away(api, await ask(api, token))

        end = monotonic() + PATIENCE_S
        while (await ask(api, token)).status == 503:
            assert monotonic() < end

        assert (await ask(api, token)).status == 200


async def test_crowd_at_a_frozen_keystone(hasty: KeystoneApi, keystone: KeystoneServer) -> None:
    """A crowd with tokens of its own is turned away in time, and does not hold up those who come later."""
    token = keystone.token("admin")
    keystone.pause()
    try:
        async with asyncio.timeout(CROWD_S):
            statuses = await asyncio.gather(*(hasty.read(f"crowd-{number}") for number in range(300)))
    finally:
        keystone.resume()

    assert {503} == set(statuses)
    end = monotonic() + PATIENCE_S
    while await hasty.read(token) == 503:
        assert monotonic() < end
    assert await hasty.read(token) == 200


async def test_late_failures_are_nobodys(
    keystone: KeystoneServer, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails after everybody has gone is told to nobody, by no traceback."""
    token = keystone.token("admin")
    # The question outlives whoever asks it.
    validator = identity(keystone, timeout_s=0.6)
    authenticator = KeystoneAuthenticator(validator, timeout_s=0.3, cache_s=60.0)
    keystone.pause()
    try:
        with pytest.raises(AuthenticatorUnavailableError):
            await authenticator.authenticate(token)
        assert "Keystone does not answer in time" == await authenticator.unavailable_reason()
        await asyncio.to_thread(authenticator._threads.shutdown)
    finally:
        keystone.resume()
        authenticator.close()
    gc.collect()
    await asyncio.sleep(0)

    assert [] == [record for record in caplog.records if record.name == "asyncio"]


async def test_not_keystone(keystone: KeystoneServer, database: Database) -> None:
    """A page that is not found is no word about a token: the address is wrong."""
    wrong = f"{keystone.url.removesuffix('/v3')}/identity"
    async with serve_with_keystone(keystone, database, auth_url=wrong) as api:
        assert_away(api, await ask(api, keystone.token("admin")))
        assert "Keystone answers a login with HTTP 404" == await api.authenticator.unavailable_reason()


@pytest.mark.parametrize(("trusted", "status"), [(True, 200), (False, 503)])
async def test_certificate(keystone: KeystoneServer, database: Database, *, trusted: bool, status: int) -> None:
    """Over TLS Keystone's certificate must be trusted; otherwise neither password nor token is sent."""
    token, before = keystone.token("admin"), len(keystone.seen())
    ca_file = keystone.certificate if trusted else None
    async with serve_with_keystone(keystone, database, auth_url=keystone.secure_url, ca_file=ca_file) as api:
        reply = await ask(api, token)

        assert status == reply.status
        assert (
            None if trusted else "Keystone's certificate is not trusted"
        ) == await api.authenticator.unavailable_reason()
    assert trusted == bool(keystone.seen()[before:])


async def test_readiness(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """Readiness tells of Keystone, and asks it seldom, whoever asks how often."""
    replies = await asyncio.gather(*(api.served.send("GET", "/readyz", role=None) for _ in range(5)))

    assert [200] * 5 == [reply.status for reply in replies]
    assert {"ready": True, "checks": {"keystone": "ok"}} == replies[0].json
    before = len(keystone.seen())
    assert (await api.served.send("GET", "/readyz", role=None)).status == 200
    assert [] == keystone.seen()[before:]


async def test_not_ready(keystone: KeystoneServer, database: Database, proxy: TcpProxy) -> None:
    """An API that cannot ask Keystone is not ready, and names no address."""
    proxy.reset()
    async with serve_with_keystone(keystone, database, port=proxy.port) as api:
        reply = await api.served.send("GET", "/readyz", role=None)

    assert 503 == reply.status
    assert {"ready": False, "checks": {"keystone": "Keystone does not answer"}} == reply.json
