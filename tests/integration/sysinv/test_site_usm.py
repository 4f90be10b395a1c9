"""The sysinv inspector asks a site's own USM for a software deploy in transition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from simulator.site_spec import Fault, FaultKind
from simulator.sites_api import ServedSite
from sites.errors import InspectionError
from sites.inspector import Reading
from sites.sysinv.inspector import SysinvInspector
from tests.integration.sysinv.sysinv_sites import Asker, FixedAddresses, address_of


@pytest.fixture
def site(site: ServedSite) -> ServedSite:
    """A site of a release with USM."""
    site.spec.software_version = "24.09"
    return site


async def inspect(asker: Asker, site: ServedSite, usm_url: str | None = None) -> Reading:
    """Read the facts of a site with USM."""
    address = replace(address_of(site), usm_url=usm_url or site.sysinv_url)
    inspector = SysinvInspector(asker.access, FixedAddresses(address), deadline_s=20.0, allow_duplex=False)
    row = {"name": "edge-1", "management_start_ip": None, "software_version": "22.12"}
    return await inspector.read(row, for_install=True)


@pytest.mark.parametrize(
    ("deploys", "found"),
    [
        ([], None),
        ([{"state": "completed"}], None),
        ([{"state": "start-failed"}], None),
        ([{"state": "host"}], "host"),
        ([{"state": "activate-done"}], "activate-done"),
        ([{"state": "new-in-some-release"}], "new-in-some-release"),
    ],
)
async def test_a_deploy_in_transition(asker: Asker, site: ServedSite, deploys: Any, found: str | None) -> None:
    """A deploy in transition is read with the token of the other requests, and told in the log."""
    site.spec.deploys = deploys
    reading = await inspect(asker, site)

    assert found == reading.facts.deploy_in_transition
    assert (1, 1) == (site.spec.requests["login"], site.spec.requests["deploy"])
    assert f"Software deploy: {found or 'none in transition'}\n" in reading.log


async def test_an_older_release_is_not_asked(asker: Asker, site: ServedSite) -> None:
    """A site of a release before USM is not asked: its firewall may swallow the question."""
    site.spec.software_version = "23.09"
    site.spec.faults["deploy"] = Fault(kind=FaultKind.CUT)

    assert (await inspect(asker, site)).facts.deploy_in_transition is None
    assert 0 == site.spec.requests["deploy"]


async def test_a_release_without_usm(asker: Asker, site: ServedSite) -> None:
    """A site that has no such path has no deploy, and no second try is made."""
    site.spec.deploys = None
    reading = await inspect(asker, site)

    assert reading.facts.deploy_in_transition is None
    assert "the site has no USM. GET /v1/deploy was answered with 404." in reading.log
    assert 1 == site.spec.requests["deploy"]


async def test_nothing_listens_where_usm_would_be(asker: Asker, site: ServedSite, closed_port: int) -> None:
    """A refused connection is a site without USM: it is not waited for."""
    slow = Asker(timeouts=replace(asker.timeouts, pause_s=60))
    reading = await inspect(slow, site, f"http://127.0.0.1:{closed_port}")

    assert reading.facts.deploy_in_transition is None
    assert f"the site has no USM. 127.0.0.1:{closed_port} refused the connection." in reading.log


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        ({"faults": {"deploy": Fault(kind=FaultKind.UNAVAILABLE)}}, "GET /v1/deploy was answered with 503."),
        ({"faults": {"deploy": Fault(kind=FaultKind.FORBIDDEN)}}, "GET /v1/deploy was answered with 403."),
        ({"faults": {"deploy": Fault(kind=FaultKind.NOT_JSON)}}, "GET /v1/deploy was not answered with JSON."),
        ({"deploys": {"error": "x"}}, "GET /v1/deploy told an error."),
        ({"deploys": [{}]}, "The software deploy has no state."),
        ({"deploys": ["host"]}, "GET /v1/deploy gave no list of deploys."),
    ],
    ids=["proxy", "role", "page", "told", "stateless", "text"],
)
async def test_other_faults_end_the_inspection(
    asker: Asker, site: ServedSite, broken: dict[str, Any], cause: str
) -> None:
    """A USM that is there and gives no usable answer is never taken for one without a deploy."""
    for name, value in broken.items():
        setattr(site.spec, name, value)

    with pytest.raises(InspectionError) as caught:
        await inspect(asker, site)

    assert cause == str(caught.value)


async def test_a_usm_that_starts_is_asked_again(asker: Asker, site: ServedSite) -> None:
    """What a pause heals is tried once more."""
    site.spec.faults["deploy"] = Fault(kind=FaultKind.UNAVAILABLE, times=1)

    assert (await inspect(asker, site)).facts.deploy_in_transition is None
    assert 2 == site.spec.requests["deploy"]
