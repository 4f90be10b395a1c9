"""The sysinv inspector against a simulated site."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from simulator.site_spec import Fault, FaultKind, SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from sites.errors import InspectionError
from sites.sysinv.access import Address
from sites.sysinv.endpoints import SiteAddresses
from sites.sysinv.inspector import SysinvInspector
from statemachine.eligibility import SiteFacts
from tests.integration.sysinv.sysinv_sites import Asker, FixedAddresses

WELL = SiteFacts(
    system_mode="simplex", oam_address="10.10.10.2", management_affecting_alarms=False, software_version="22.12"
)


async def test_a_simplex_site(asker: Asker, site: ServedSite) -> None:
    """Mode, version, health and address are read, each with one request, and told in the log."""
    reading = await asker.inspect(site)

    assert WELL == reading.facts
    assert Counter(login=1, isystems=1, health=1, iextoam=1) == site.spec.requests
    assert "System mode: simplex\nSoftware version: 22.12\nOAM address: 10.10.10.2\nSystem Health:\n" in reading.log


async def test_another_version_is_told(asker: Asker, site: ServedSite) -> None:
    """What the site says counts, and the difference to the inventory is told."""
    site.spec.software_version = "21.12"
    reading = await asker.inspect(site)

    assert "21.12" == reading.facts.software_version
    assert "The inventory says 22.12; what the site says is used." in reading.log


@pytest.mark.parametrize(
    ("alarms", "affecting", "blocks"), [(0, 0, False), (2, 0, False), (3, 1, True), (10, 10, True)]
)
async def test_alarms(asker: Asker, site: ServedSite, alarms: int, affecting: int, blocks: bool) -> None:
    """Only alarms that affect management block; locked hosts and alarms of certificates do not."""
    site.spec.alarms, site.spec.management_affecting_alarms = alarms, affecting
    site.spec.certificate_alarms, site.spec.locked_hosts = 1, ("controller-1",)

    assert blocks is (await asker.inspect(site)).facts.management_affecting_alarms


async def test_an_ipv6_site(asker: Asker) -> None:
    """A site is asked at an IPv6 address and gives one."""
    spec = SiteSpec(name="v6", host="::1", oam_floating_ip="2620:10a::15", sysinv_port=0)
    async with serve_sites([spec]) as sites:
        assert "2620:10a::15" == (await asker.inspect(sites["v6"])).facts.oam_address


@pytest.mark.parametrize(
    ("mode", "allow_duplex", "for_install", "active"),
    [
        ("duplex", True, True, False),
        ("duplex", True, False, None),
        ("duplex", False, True, None),
        ("duplex-direct", True, True, None),
        ("simplex", True, True, None),
    ],
)
async def test_the_active_controller_is_read_where_it_matters(
    asker: Asker, site: ServedSite, mode: str, allow_duplex: bool, for_install: bool, active: bool | None
) -> None:
    """Only an installation of a duplex site, where those are allowed, depends on the active controller."""
    site.spec.system_mode, site.spec.active_controller = mode, "controller-1"
    reading = await asker.inspect(site, allow_duplex=allow_duplex, for_install=for_install)

    assert (mode, active) == (reading.facts.system_mode, reading.facts.controller_0_active)
    assert (active is not None) == site.spec.requests["ihosts"]


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        ({"oam_floating_ip": None}, "The site lists no OAM network."),
        ({"oam_floating_ip": ""}, "The OAM network has no oam_floating_ip."),
        ({"faults": {"login": Fault(kind=FaultKind.UNAUTHORIZED)}}, "Keystone refused the login of dcmanager (401)."),
        ({"faults": {"health": Fault(kind=FaultKind.NO_HEALTH)}}, "GET /v1/health/ was answered with 400."),
        ({"faults": {"iextoam": Fault(kind=FaultKind.NOT_FOUND)}}, "GET /v1/iextoam was answered with 404."),
        ({"faults": {"isystems": Fault(kind=FaultKind.NOT_JSON)}}, "GET /v1/isystems was not answered with JSON."),
    ],
    ids=["no-oam", "empty-oam", "login", "health", "path", "page"],
)
async def test_the_first_fault_ends_it(asker: Asker, site: ServedSite, broken: dict[str, object], cause: str) -> None:
    """Whatever cannot be read ends the inspection with a few words of cause."""
    for name, value in broken.items():
        setattr(site.spec, name, value)

    with pytest.raises(InspectionError) as caught:
        await asker.inspect(site)

    assert cause == str(caught.value)


async def test_the_deadline_bounds_everything(asker: Asker, site: ServedSite) -> None:
    """A site that answers each request just in time is not waited for longer than the phase lasts."""
    site.spec.delay_s = 0.3

    with pytest.raises(InspectionError, match=r"did not tell all within 0\.5 s"):
        await asker.inspect(site, deadline_s=0.5)


async def test_a_site_without_an_address(asker: Asker) -> None:
    """A site whose management address nobody knows cannot be asked, and the message says what to do."""
    inspector = SysinvInspector(asker.access, FixedAddresses(None), deadline_s=1, allow_duplex=False)
    row = {"name": "edge-1", "management_start_ip": None, "software_version": "22.12"}

    assert inspector.known(row) is None
    with pytest.raises(InspectionError, match="management_start_address is not known"):
        await inspector.read(row, for_install=True)


class TestAddresses:
    @pytest.mark.parametrize(("address", "host"), [("192.168.101.2", "192.168.101.2"), ("fd01::2", "[fd01::2]")])
    def test_by_management_address(self, address: str, host: str) -> None:
        """A site is asked at its first management address; IPv6 is put in brackets."""
        expected = Address(
            keystone_url=f"https://{host}:5001/v3",
            service_url=f"https://{host}:6386",
            usm_url=f"https://{host}:5498",
        )

        assert expected == SiteAddresses().find("edge-1", address)
        assert SiteAddresses().find("edge-1", None) is None

    def test_the_file_wins_and_is_read_again(self, tmp_path: Path) -> None:
        """URLs of the operator's file win over the address, and count as soon as they are written."""
        file = tmp_path / "urls.toml"
        file.write_text("")
        addresses = SiteAddresses(file=file)
        before = addresses.find("edge.1", "192.168.101.2")
        file.with_suffix(".new").write_text('["edge.1"]\nkeystone = "http://h:1/v3/"\nsysinv = "http://h:2"\n')
        file.with_suffix(".new").replace(file)

        assert SiteAddresses().find("edge.1", "192.168.101.2") == before
        assert Address(keystone_url="http://h:1/v3", service_url="http://h:2") == addresses.find("edge.1", None)

    def test_usm_of_the_file(self, tmp_path: Path) -> None:
        """The file names USM where the site has one."""
        file = tmp_path / "urls.toml"
        file.write_text('[a]\nkeystone = "http://h:1/v3"\nsysinv = "http://h:2"\nusm = "http://h:3/"\n')
        expected = Address(keystone_url="http://h:1/v3", service_url="http://h:2", usm_url="http://h:3")

        assert expected == SiteAddresses(file=file).find("a", None)

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "[",
            "[a]\nkeystone = 'http://h'",
            "[a]\nkeystone = 'http://h'\nsysinv = 'ftp://h'",
            "[a]\nkeystone = 1\nsysinv = 'http://h'",
            "a = 1",
        ],
    )
    def test_an_unusable_file(self, tmp_path: Path, text: str | None) -> None:
        """A file that cannot be used stops every inspection and is named."""
        file = tmp_path / "urls.toml"
        if text is not None:
            file.write_text(text)

        with pytest.raises(InspectionError, match=r"urls\.toml"):
            SiteAddresses(file=file).find("a", "192.168.101.2")
