"""The system controller is asked whether it is being upgraded, for a few seconds at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest

from simulator.site_spec import EVERYTHING, Fault, FaultKind, SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from sites.errors import InspectionError
from sites.inspector import DeclaredControllerCheck
from sites.sysinv.controller import SystemControllerCheck
from tests.integration.sysinv.sysinv_sites import Asker, address_of


@pytest.fixture
async def controller() -> AsyncIterator[ServedSite]:
    async with serve_sites([SiteSpec(name="controller", role="systemcontroller")]) as sites:
        yield sites["controller"]


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("way", "listed", "busy"),
    [
        ("usm", {"deploys": []}, False),
        ("usm", {"deploys": [{"state": "completed"}]}, True),
        ("sysinv", {"upgrades": []}, False),
        ("sysinv", {"upgrades": [{"state": "started"}]}, True),
    ],
)
async def test_a_listed_upgrade_is_one(
    asker: Asker, controller: ServedSite, way: Any, listed: dict[str, Any], busy: bool
) -> None:
    """The controller is busy as long as it lists an upgrade, by either way of asking."""
    for name, value in listed.items():
        setattr(controller.spec, name, value)
    check = SystemControllerCheck(asker.access, address_of(controller), way)

    assert busy is await asyncio.to_thread(check.is_upgrading)


@pytest.mark.parametrize(
    ("way", "broken", "cause"),
    [
        ("sysinv", {"upgrades": None}, "GET /v1/upgrade was answered with 500."),
        ("usm", {"deploys": None}, "GET /v1/deploy was answered with 404."),
        ("usm", {"deploys": {"error": "x"}}, "GET /v1/deploy told an error."),
        ("usm", {"faults": {"login": Fault(kind=FaultKind.UNAUTHORIZED)}}, "Keystone refused the login of dcmanager"),
    ],
    ids=["new-release", "old-release", "told", "login"],
)
async def test_what_cannot_be_told_is_never_no(
    asker: Asker, controller: ServedSite, way: Any, broken: dict[str, Any], cause: str
) -> None:
    """A controller that gives no list is never taken for one that is not upgraded."""
    for name, value in broken.items():
        setattr(controller.spec, name, value)
    check = SystemControllerCheck(asker.access, address_of(controller), way)

    with pytest.raises(InspectionError, match=cause):
        await asyncio.to_thread(check.is_upgrading)


async def test_a_silent_controller_is_waited_for_shortly(asker: Asker, controller: ServedSite) -> None:
    """Whoever waits for the command is told in time that the controller is silent."""
    controller.spec.faults[EVERYTHING] = Fault(kind=FaultKind.SLOW, delay_s=60)
    check = SystemControllerCheck(asker.access, address_of(controller), "usm", longest_s=0.2)
    began = monotonic()

    with pytest.raises(InspectionError, match=r"not answered within 0\.2 s"):
        await asyncio.to_thread(check.is_upgrading)
    assert monotonic() - began < 30


async def test_one_question_serves_a_row_of_commands(asker: Asker, controller: ServedSite) -> None:
    """For a few seconds what was told holds, a failure too; then the controller is asked again."""
    clock = Clock()
    check = SystemControllerCheck(asker.access, address_of(controller), "usm", clock=clock)
    assert [False] * 3 == await asyncio.gather(*(asyncio.to_thread(check.is_upgrading) for _ in range(3)))
    controller.spec.deploys = {"error": "x"}
    clock.now = 4.9
    assert not await asyncio.to_thread(check.is_upgrading)

    clock.now = 5.0
    for _ in range(2):
        with pytest.raises(InspectionError):
            await asyncio.to_thread(check.is_upgrading)

    # The error counts as passing, so it is asked a second time.
    assert 2 == controller.spec.requests["deploy"]
    clock.now = 10.0
    controller.spec.deploys = [{"state": "start"}]
    assert await asyncio.to_thread(check.is_upgrading)


@pytest.mark.parametrize(
    ("listed", "releases"),
    [
        (
            [
                {"sw_version": "24.09.1", "state": "deployed"},
                {"sw_version": "24.09.2", "state": "available"},
                {"sw_version": "9.10.0", "state": "unavailable"},
                {"sw_version": "25.03.0", "state": "deploying"},
                {"sw_version": "nightly", "state": "available"},
                {"state": "available"},
            ],
            ("9.10", "24.09"),
        ),
        ([], None),
        ({"error": "x"}, None),
        (["24.09"], None),
    ],
)
async def test_releases_of_the_controller(
    asker: Asker, controller: ServedSite, listed: Any, releases: tuple[str, ...] | None
) -> None:
    """USM lists the releases that can be installed; without a list of any, nothing is known, and work may start."""
    controller.spec.deploys, controller.spec.releases = [], listed
    check = SystemControllerCheck(asker.access, address_of(controller), "usm")

    assert releases == await asyncio.to_thread(check.releases)
    assert not await asyncio.to_thread(check.is_upgrading)
    assert 1 == controller.spec.requests["release"]


async def test_software_of_the_controller(asker: Asker, controller: ServedSite) -> None:
    """One question gives upgrades, releases, and the software for playbooks."""
    controller.spec.deploys = []
    controller.spec.releases = [
        {"release_id": "starlingx-24.09.1", "sw_version": "24.09.1", "state": "deployed", "reboot_required": True}
    ]
    check = SystemControllerCheck(asker.access, address_of(controller), "usm")

    found, releases = await asyncio.to_thread(check.software), await asyncio.to_thread(check.releases)

    assert (["|starlingx-24.09.1|True|deployed|"], ("24.09",)) == ([one.line for one in found or ()], releases)
    assert 1 == controller.spec.requests["release"]


async def test_sysinv_lists_no_releases(asker: Asker, controller: ServedSite) -> None:
    """A controller that is asked by its sysinv is not asked for releases."""
    controller.spec.upgrades = []
    check = SystemControllerCheck(asker.access, address_of(controller), "sysinv")

    assert await asyncio.to_thread(check.releases) is None
    assert not controller.spec.requests["release"]


def test_declared_asks_nobody() -> None:
    """Where the declaration counts alone nobody is asked."""
    assert DeclaredControllerCheck().is_upgrading() is False
    assert DeclaredControllerCheck().releases() is None
