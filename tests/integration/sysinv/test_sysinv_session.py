"""One session with a site: login, token, repeats, and what is said when it fails."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web

from simulator.certificates import Authority
from simulator.site_spec import Fault, FaultKind, SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from sites.errors import ErrorKind as Kind
from sites.errors import SiteRequestError
from sites.sysinv.access import Timeouts
from sites.sysinv.auth import SiteToken, TlsTrust, TokenCache, read_token
from tests.integration.sysinv.sysinv_sites import Asker, account


async def fault_of(asker: Asker, site: ServedSite, path: str = "/v1/isystems") -> SiteRequestError:
    """Return the fault of a request that must fail."""
    with pytest.raises(SiteRequestError) as caught:
        await asker.get(site, path)
    return caught.value


async def test_a_token_is_used_again(asker: Asker, site: ServedSite) -> None:
    """One login is enough for several sessions."""
    for _ in range(3):
        await asker.get(site)

    assert Counter(login=1, isystems=3) == site.spec.requests


@pytest.mark.parametrize(("life_s", "renewed_after_s"), [(3600, 3300), (100, 50), (0, 0)])
def test_a_token_is_renewed_before_its_end(life_s: int, renewed_after_s: int) -> None:
    """A token is renewed five minutes before its end, or after half its life; the site's clock does not matter."""
    expires = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(seconds=life_s)
    times = {"issued_at": "2001-01-01T00:00:00.000000Z", "expires_at": expires.isoformat()}

    token = read_token("t", {"token": times})

    assert renewed_after_s == pytest.approx(token.renew_at - monotonic(), abs=1)


def test_the_oldest_tokens_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store keeps so many tokens and no more, none that is due, and only drops the one that was refused."""
    monkeypatch.setattr("sites.sysinv.auth._MOST_TOKENS", 2)
    store, later = TokenCache(), monotonic() + 100
    tokens = [SiteToken(text=str(number), renew_at=later) for number in range(3)]
    for number, token in enumerate(tokens):
        store.keep(f"http://{number}", token)
    store.keep("http://2", SiteToken(text="due", renew_at=0.0))
    store.drop("http://1", tokens[0])

    assert [None, tokens[1], None] == [store.find(f"http://{number}") for number in range(3)]


@pytest.mark.parametrize(
    ("text", "body"),
    [("t", {}), ("t", []), ("t", {"token": {"issued_at": "x", "expires_at": "y"}}), (None, None)],
)
def test_a_login_without_a_token(text: str | None, body: object) -> None:
    """An answer to a login that is no token is no login."""
    with pytest.raises(SiteRequestError):
        read_token(text, body)


async def test_a_revoked_token_costs_one_login(asker: Asker, site: ServedSite) -> None:
    """A token that is not taken any more is replaced, and the request repeated."""
    await asker.get(site)
    site.keystone.revoke_all()
    await asker.get(site)

    assert Counter(login=2, isystems=3) == site.spec.requests


async def test_a_new_token_that_is_not_taken_is_a_failure(asker: Asker, site: ServedSite) -> None:
    """After one new login the request fails: the fault is not the token's age."""
    site.spec.faults["isystems"] = Fault(kind=FaultKind.UNAUTHORIZED)
    fault = await fault_of(asker, site)

    assert (Kind.LOGIN, "GET /v1/isystems did not take a token from a new login (401).") == (fault.kind, str(fault))
    assert Counter(login=2, isystems=2) == site.spec.requests


async def test_a_refused_login_fails_at_once(asker: Asker, site: ServedSite) -> None:
    """A wrong password is tried once: repeats would lock the account. The message has no secret."""
    asker.account = account("hunter2")
    fault = await fault_of(asker, site)

    assert (Kind.LOGIN, "Keystone refused the login of dcmanager (401).") == (fault.kind, str(fault))
    assert Counter(login=1) == site.spec.requests
    assert "hunter2" not in repr(asker.access)


async def test_the_password_may_change_in_its_file(asker: Asker, site: ServedSite, tmp_path: Path) -> None:
    """The file of the password is read at each login."""
    file = tmp_path / "password"
    file.write_text("old\n")
    asker.account = account(file)
    assert Kind.LOGIN == (await fault_of(asker, site)).kind
    file.write_text(f"{site.spec.account.password}\n")

    assert "isystems" in await asker.get(site)


async def test_a_password_file_that_is_gone(asker: Asker, site: ServedSite, tmp_path: Path) -> None:
    """A file that cannot be read is our fault, not the site's."""
    asker.account = account(tmp_path / "none")
    fault = await fault_of(asker, site)

    assert Kind.OURS == fault.kind
    assert str(tmp_path / "none") in str(fault)


@pytest.mark.parametrize("operation", ["login", "isystems"])
@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.GATEWAY_TIMEOUT, FaultKind.BROKEN, FaultKind.CUT])
async def test_what_passes_is_tried_once_more(asker: Asker, site: ServedSite, kind: FaultKind, operation: str) -> None:
    """A server error and a cut connection are tried a second time, and then count."""
    site.spec.faults[operation] = Fault(kind=kind, times=1)
    assert "isystems" in await asker.get(site)
    assert 2 == site.spec.requests[operation]

    site.keystone.revoke_all()
    site.spec.faults[operation] = Fault(kind=kind)
    fault = await fault_of(asker, site)
    assert fault.kind in (Kind.SERVER, Kind.UNREACHABLE)


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        (FaultKind.FORBIDDEN, Kind.FORBIDDEN, "GET /v1/isystems was answered with 403."),
        (FaultKind.NOT_FOUND, Kind.MISSING, "GET /v1/isystems was answered with 404."),
        (FaultKind.NO_HEALTH, Kind.UNUSABLE, "GET /v1/isystems was answered with 400."),
        (FaultKind.NOT_JSON, Kind.UNUSABLE, "GET /v1/isystems was not answered with JSON."),
    ],
)
async def test_what_stays_fails_at_once(
    asker: Asker, site: ServedSite, kind: FaultKind, expected: Kind, text: str
) -> None:
    """What a pause does not heal is not repeated, and the message names the path."""
    site.spec.faults["isystems"] = Fault(kind=kind)
    fault = await fault_of(asker, site)

    assert (expected, text, 1) == (fault.kind, str(fault), site.spec.requests["isystems"])


async def test_a_health_query_that_fails_is_tried_once_more(asker: Asker, site: ServedSite) -> None:
    """400 of the health says that sysinv cannot ask its own parts now."""
    site.spec.faults["health"] = Fault(kind=FaultKind.NO_HEALTH, times=1)

    assert "System Health:" in await asker.get(site, "/v1/health/")
    assert 2 == site.spec.requests["health"]


async def test_a_refused_connection_is_tried_once_more(
    asker: Asker, site: ServedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that takes no connections is tried a second time after the pause; here it is back by then."""
    await site.refuse()
    fault = await fault_of(asker, site)
    host, port = site.addresses[0]
    assert (Kind.REFUSED, f"{host}:{port} refused the connection.") == (fault.kind, str(fault))

    async def come_back(_: float) -> None:
        await site.listen()

    monkeypatch.setattr("sites.sysinv.client.asyncio.sleep", come_back)
    assert "isystems" in await asker.get(site)


async def test_silence_ends_after_the_read_timeout(asker: Asker, site: ServedSite) -> None:
    """A site that does not answer is not waited for longer than set, twice."""
    site.spec.faults["isystems"] = Fault(kind=FaultKind.SLOW, delay_s=30)
    asker.timeouts = Timeouts(read_s=0.1, pause_s=0.01)
    fault = await fault_of(asker, site)

    assert (Kind.UNREACHABLE, "GET /v1/isystems was not answered in time.") == (fault.kind, str(fault))
    assert 2 == site.spec.requests["isystems"]


async def test_a_redirect_is_not_followed(asker: Asker) -> None:
    """The token goes nowhere but to the site."""

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/")

    app = web.Application()
    app.router.add_post("/v3/auth/tokens", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        site = type("Site", (), {"keystone_url": f"http://127.0.0.1:{runner.addresses[0][1]}/v3", "sysinv_url": ""})
        fault = await fault_of(asker, site)
    finally:
        await runner.cleanup()

    assert "The login at Keystone was answered with 302." == str(fault)


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_a_known_authority(self, authority: Authority, asker: Asker, host: str) -> None:
        """A site whose certificate comes of the file's authority is trusted, by IPv4 and IPv6."""
        asker.trust = TlsTrust(authority.ca_file)
        async with serve_sites([SiteSpec(name="a", host=host)], ssl_context=authority.server_context()) as sites:
            assert "isystems" in await asker.get(sites["a"])

    async def test_a_foreign_authority(self, authority: Authority, asker: Asker, tmp_path: Path) -> None:
        """A site of another authority is not told the password, and not tried again."""
        other = tmp_path / "other"
        other.mkdir()
        asker.trust = TlsTrust(Authority(other).ca_file)
        async with serve_sites([SiteSpec(name="a")], ssl_context=authority.server_context()) as sites:
            fault = await fault_of(asker, sites["a"])

            assert Kind.CERTIFICATE == fault.kind
            assert "certificate" in str(fault)
            assert Counter() == sites["a"].spec.requests

    async def test_another_address(self, authority: Authority, asker: Asker) -> None:
        """A certificate for another address is not good."""
        asker.trust = TlsTrust(authority.ca_file)
        async with serve_sites([SiteSpec(name="a")], ssl_context=authority.server_context(["10.0.0.1"])) as sites:
            assert "IP address mismatch" in str(await fault_of(asker, sites["a"]))

    async def test_a_renewed_authority(self, authority: Authority, asker: Asker, tmp_path: Path) -> None:
        """The file is read again when it has changed, by a service that runs."""
        other = tmp_path / "other"
        other.mkdir()
        renewed = Authority(other)
        asker.trust = TlsTrust(authority.ca_file)
        async with serve_sites([SiteSpec(name="a")], ssl_context=renewed.server_context()) as sites:
            assert Kind.CERTIFICATE == (await fault_of(asker, sites["a"])).kind
            renewed.ca_file.replace(authority.ca_file)
            assert "isystems" in await asker.get(sites["a"])

    async def test_no_tls_at_all(self, authority: Authority, asker: Asker, site: ServedSite) -> None:
        """A server without TLS gets neither password nor token."""
        asker.trust = TlsTrust(authority.ca_file)
        plain = type("Site", (), {"keystone_url": site.keystone_url.replace("http:", "https:"), "sysinv_url": ""})
        fault = await fault_of(asker, plain)

        assert fault.kind in (Kind.CERTIFICATE, Kind.UNREACHABLE)
        assert Counter() == site.spec.requests

    @pytest.mark.parametrize("content", [None, "", "no certificate"])
    async def test_an_unusable_file(
        self, authority: Authority, asker: Asker, content: str | None, tmp_path: Path
    ) -> None:
        """A file of authorities that cannot be used is our fault and is named."""
        file = tmp_path / "broken.pem"
        if content is not None:
            file.write_text(content)
        asker.trust = TlsTrust(file)
        async with serve_sites([SiteSpec(name="a")], ssl_context=authority.server_context()) as sites:
            fault = await fault_of(asker, sites["a"])

        assert (Kind.OURS, True) == (fault.kind, str(file) in str(fault))

    def test_the_systems_authorities(self) -> None:
        """Without a file the system's authorities count."""
        assert ssl.CERT_REQUIRED == TlsTrust().context().verify_mode


async def test_no_network_is_not_the_sites_fault(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this machine has no way to the network nothing is said of the site."""

    async def no_route(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", no_route)
    site = type("Site", (), {"keystone_url": "http://192.0.2.1:5001/v3", "sysinv_url": ""})
    fault = await fault_of(asker, site)

    assert (Kind.OURS, "192.0.2.1:5001 cannot be connected to (ENETUNREACH).") == (fault.kind, str(fault))
