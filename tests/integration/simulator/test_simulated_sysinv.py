"""The simulated sysinv and USM: shapes, texts and faults of the real ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from simulator.site_spec import Account, Fault, FaultKind, SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from simulator.sysinv_api import health


@pytest.fixture
async def site() -> AsyncIterator[ServedSite]:
    async with serve_sites([SiteSpec(name="edge-1")]) as sites:
        yield sites["edge-1"]


@pytest.fixture
async def session(site: ServedSite) -> AsyncIterator[ClientSession]:
    """A session with a token of the site."""
    account = site.spec.account
    user = {"name": account.username, "domain": {"name": "Default"}, "password": account.password}
    scope = {"project": {"name": account.project, "domain": {"name": "Default"}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    async with ClientSession() as session:
        async with session.post(f"{site.keystone_url}/auth/tokens", json=body) as response:
            session.headers["X-Auth-Token"] = response.headers["X-Subject-Token"]
        yield session


async def get(session: ClientSession, site: ServedSite, path: str) -> tuple[int, Any]:
    """Return status and value of an answer."""
    async with session.get(f"{site.sysinv_url}{path}") as response:
        return response.status, await response.json(content_type=None)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_health_is_one_text(session: ClientSession, site: ServedSite, slash: str) -> None:
    """The body of the health is a JSON string, with and without a slash at the end of the path."""
    status, text = await get(session, site, f"/v1/health{slash}")

    assert 200 == status
    assert text.startswith("System Health:\nAll hosts are provisioned: [OK]\n")
    assert "No alarms: [OK]" in text


def test_alarms_are_told_as_both_releases_do() -> None:
    """Older releases count management-affecting alarms, newer ones those of certificates too."""
    spec = SiteSpec(name="a", alarms=3, management_affecting_alarms=1, locked_hosts=("controller-1",))

    assert "No alarms: [Fail]\n[3] alarms found, [1] of which are management affecting\n" in health(spec)
    assert "unlocked/enabled: [Fail]\nLocked or disabled hosts: controller-1\n" in health(spec)
    spec.certificate_alarms = 2
    assert "management affecting and [2] are certificate expiration alarms." in health(spec)


async def test_addresses_by_mode(session: ClientSession, site: ServedSite) -> None:
    """A simplex system has a floating address alone, a duplex one an address for each controller, some none at all."""
    _, simplex = await get(session, site, "/v1/iextoam")
    site.spec.system_mode = "duplex"
    _, duplex = await get(session, site, "/v1/iextoam")
    site.spec.oam_floating_ip = None
    _, empty = await get(session, site, "/v1/iextoam")

    assert ("10.10.10.2", None) == (simplex["iextoams"][0]["oam_floating_ip"], simplex["iextoams"][0]["oam_c0_ip"])
    assert "10.10.10.3" == duplex["iextoams"][0]["oam_c0_ip"]
    assert {"iextoams": []} == empty


async def test_hosts(session: ClientSession, site: ServedSite) -> None:
    """A host tells whether it is the active controller; one that is not there is 404."""
    site.spec.system_mode, site.spec.active_controller = "duplex", "controller-1"
    personalities = [
        (await get(session, site, f"/v1/ihosts/controller-{number}"))[1]["capabilities"]["Personality"]
        for number in (0, 1)
    ]

    assert ["Controller-Standby", "Controller-Active"] == personalities
    assert 404 == (await get(session, site, "/v1/ihosts/storage-0"))[0]


async def test_system_and_groups(session: ClientSession, site: ServedSite) -> None:
    """The system tells its mode and version, the service groups their state on every node."""
    site.spec.service_groups = {"oam-services": {"controller-0": "standby", "controller-1": "active"}}
    _, systems = await get(session, site, "/v1/isystems")
    _, groups = await get(session, site, "/v1/servicegroup")

    assert ("simplex", "22.12") == (systems["isystems"][0]["system_mode"], systems["isystems"][0]["software_version"])
    assert [("oam-services", "standby"), ("oam-services", "active")] == [
        (group["service_group_name"], group["state"]) for group in groups["sm_servicegroup"]
    ]


async def test_upgrades_of_a_controller(session: ClientSession, site: ServedSite) -> None:
    """Either way of upgrading is told by its own API, and a release without it answers with an error."""
    site.spec.upgrades, site.spec.deploys, site.spec.releases = (
        [{"state": "started"}],
        None,
        [{"sw_version": "24.09.1"}],
    )

    assert (200, {"upgrades": [{"state": "started"}]}) == await get(session, site, "/v1/upgrade")
    assert 404 == (await get(session, site, "/v1/deploy"))[0]
    assert (200, [{"sw_version": "24.09.1"}]) == await get(session, site, "/v1/release")
    site.spec.upgrades, site.spec.deploys = None, [{"state": "start"}]
    assert 500 == (await get(session, site, "/v1/upgrade"))[0]
    assert (200, [{"state": "start"}]) == await get(session, site, "/v1/deploy")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FaultKind.UNAVAILABLE, 503),
        (FaultKind.GATEWAY_TIMEOUT, 504),
        (FaultKind.BROKEN, 500),
        (FaultKind.NO_HEALTH, 400),
        (FaultKind.UNAUTHORIZED, 401),
        (FaultKind.FORBIDDEN, 403),
        (FaultKind.NOT_FOUND, 404),
        (FaultKind.NOT_JSON, 200),
        (FaultKind.SLOW, 200),
    ],
)
async def test_faults(session: ClientSession, site: ServedSite, kind: FaultKind, status: int) -> None:
    """Each fault has the status of the real one, and is gone when it has struck as often as it should."""
    site.spec.faults["isystems"] = Fault(kind=kind, times=1, delay_s=0.01)
    statuses = []
    for _ in range(2):
        async with session.get(f"{site.sysinv_url}/v1/isystems") as response:
            statuses.append(response.status)

    assert [status, 200] == statuses
    assert 2 == site.spec.requests["isystems"]


async def test_an_error_of_sysinv_is_json_in_json(session: ClientSession, site: ServedSite) -> None:
    """What went wrong is a JSON text within the JSON body."""
    site.spec.faults["health"] = Fault(kind=FaultKind.NO_HEALTH)
    _, body = await get(session, site, "/v1/health")

    assert "Unable to perform health query." == json.loads(body["error_message"])["faultstring"]


async def test_a_connection_may_be_cut(session: ClientSession, site: ServedSite) -> None:
    """A connection that is cut gives no answer at all."""
    site.spec.faults["isystems"] = Fault(kind=FaultKind.CUT)

    with pytest.raises(ClientError):
        await get(session, site, "/v1/isystems")


async def test_a_role_that_may_not_read() -> None:
    """A token without a reading role is told 403."""
    account = Account(roles=("guest",))
    async with serve_sites([SiteSpec(name="a", account=account)]) as sites, ClientSession() as session:
        user = {"name": "dcmanager", "domain": {"name": "Default"}, "password": account.password}
        scope = {"project": {"name": "services", "domain": {"name": "Default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        async with session.post(f"{sites['a'].keystone_url}/auth/tokens", json=body) as response:
            session.headers["X-Auth-Token"] = response.headers["X-Subject-Token"]

        assert 403 == (await get(session, sites["a"], "/v1/isystems"))[0]
