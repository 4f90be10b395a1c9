"""The simulated Keystone, asked as a service account asks it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession

from simulator.certificates import Authority
from simulator.site_spec import EVERYTHING, Account, Fault, FaultKind, SiteSpec
from simulator.sites_api import ServedSite, serve_sites


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def site() -> AsyncIterator[ServedSite]:
    async with serve_sites([SiteSpec(name="edge-1")]) as sites:
        yield sites["edge-1"]


def login_body(**changed: str) -> dict[str, Any]:
    """Return the body of a login with some values changed."""
    account = {**vars(Account()), **changed}
    user = {
        "name": account["username"],
        "domain": {"name": account["user_domain"]},
        "password": account["password"],
    }
    project = {"name": account["project"], "domain": {"name": account["project_domain"]}}
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"project": project}}}


async def log_in(session: ClientSession, site: ServedSite, **changed: str) -> tuple[int, str | None]:
    """Return status and token of a login."""
    async with session.post(f"{site.keystone_url}/auth/tokens", json=login_body(**changed)) as response:
        return response.status, response.headers.get("X-Subject-Token")


async def status_of(session: ClientSession, url: str, token: str | None) -> int:
    async with session.get(url, headers={"X-Auth-Token": token or ""}) as response:
        return response.status


async def test_a_token_opens_its_own_site_only(session: ClientSession) -> None:
    """A token is good where it was given and nowhere else."""
    async with serve_sites([SiteSpec(name="a"), SiteSpec(name="b")]) as sites:
        _, token = await log_in(session, sites["a"])

        assert HTTPStatus.OK == await status_of(session, f"{sites['a'].sysinv_url}/v1/isystems", token)
        assert HTTPStatus.UNAUTHORIZED == await status_of(session, f"{sites['b'].sysinv_url}/v1/isystems", token)


@pytest.mark.parametrize("wrong", ["username", "password", "project", "user_domain", "project_domain"])
async def test_every_part_of_a_login_counts(session: ClientSession, site: ServedSite, wrong: str) -> None:
    """A login with one wrong part gets no token."""
    assert (HTTPStatus.UNAUTHORIZED, None) == await log_in(session, site, **{wrong: "other"})


@pytest.mark.parametrize("body", [b"", b"[]", b'{"auth": {}}', b'{"auth": {"identity": 1, "scope": {"project": 2}}}'])
async def test_a_body_that_is_no_login(session: ClientSession, site: ServedSite, body: bytes) -> None:
    """What is no login is told so."""
    async with session.post(f"{site.keystone_url}/auth/tokens", data=body) as response:
        assert HTTPStatus.BAD_REQUEST == response.status


async def test_a_token_ends(session: ClientSession) -> None:
    """A token is bad once its life is over."""
    async with serve_sites([SiteSpec(name="a", token_life_s=0.0)]) as sites:
        status, token = await log_in(session, sites["a"])

        assert HTTPStatus.CREATED == status
        assert HTTPStatus.UNAUTHORIZED == await status_of(session, f"{sites['a'].sysinv_url}/v1/isystems", token)


async def test_tokens_are_validated_and_revoked(session: ClientSession, site: ServedSite) -> None:
    """A good token may be looked at until it is revoked; whoever asks needs one himself."""
    _, mine = await log_in(session, site)
    _, other = await log_in(session, site)
    url, headers = f"{site.keystone_url}/auth/tokens", {"X-Auth-Token": mine or "", "X-Subject-Token": other or ""}

    async with session.get(url, headers=headers) as response:
        assert "dcmanager" == (await response.json())["token"]["user"]["name"]
    async with session.delete(url, headers=headers) as response:
        assert HTTPStatus.NO_CONTENT == response.status
    for verb in ("GET", "DELETE"):
        async with session.request(verb, url, headers=headers) as response:
            assert HTTPStatus.NOT_FOUND == response.status
        async with session.request(verb, url, headers={"X-Auth-Token": other or ""}) as response:
            assert HTTPStatus.UNAUTHORIZED == response.status


async def test_new_keys_make_all_tokens_bad(session: ClientSession, site: ServedSite) -> None:
    """After a change of keys every token is bad and a new login works."""
    _, token = await log_in(session, site)
    site.keystone.revoke_all()

    assert HTTPStatus.UNAUTHORIZED == await status_of(session, f"{site.sysinv_url}/v1/isystems", token)
    assert HTTPStatus.CREATED == (await log_in(session, site))[0]


async def test_the_version_needs_no_token(session: ClientSession, site: ServedSite) -> None:
    """Anybody may ask for the version."""
    async with session.get(site.keystone_url) as response:
        assert "v3.14" == (await response.json())["version"]["id"]


async def test_a_site_refuses_and_comes_back_at_the_same_ports(session: ClientSession) -> None:
    """A site that refuses keeps its ports, so that nobody else answers for it."""
    spec = SiteSpec(name="a", sysinv_port=0)
    async with serve_sites([spec]) as sites:
        url = sites["a"].keystone_url
        await sites["a"].refuse()
        async with ClientSession() as another:
            with pytest.raises(ClientConnectorError):
                await another.get(url)
        await sites["a"].listen()
        await sites["a"].listen()

        assert sites["a"].addresses[0] != sites["a"].addresses[1]
        assert HTTPStatus.OK == await status_of(session, url, None)


async def test_an_address_that_is_taken_leaves_nothing_listening() -> None:
    """When one site cannot listen, none does."""
    async with serve_sites([SiteSpec(name="a")]) as sites:
        host, port = sites["a"].addresses[0]
        free = SiteSpec(name="free", host="127.0.0.2", keystone_port=port)
        with pytest.raises(OSError, match="in use"):
            async with serve_sites([free, SiteSpec(name="taken", host=host, keystone_port=port)]):
                pass

        async with serve_sites([free]) as again:
            assert ("127.0.0.2", port) == again["free"].addresses[0]


async def test_sites_prove_themselves_over_tls(tmp_path: Path) -> None:
    """A site's certificate is good for its address, for whoever trusts the fleet's authority."""
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    specs = [SiteSpec(name="v4"), SiteSpec(name="v6", host="::1")]
    async with serve_sites(specs, ssl_context=authority.server_context()) as sites, ClientSession() as session:
        for site in sites.values():
            async with session.get(site.keystone_url, ssl=trusting) as response:
                assert HTTPStatus.OK == response.status
        assert sites["v6"].sysinv_url.startswith("https://[::1]:")


async def test_a_fault_for_everything_strikes_logins_too(session: ClientSession, site: ServedSite) -> None:
    """A fault of all operations holds for as many requests as it says."""
    site.spec.faults[EVERYTHING] = Fault(kind=FaultKind.UNAVAILABLE, times=1)

    assert [HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.CREATED] == [(await log_in(session, site))[0] for _ in range(2)]
