"""What the answers of sysinv and USM mean (StarlingX's own texts and rules)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sites.errors import SiteRequestError
from sites.sysinv.interpretation import (
    System,
    has_blocking_alarms,
    has_deploy,
    has_upgrade,
    is_active_controller,
    is_serving,
    read_health,
    read_oam_address,
    read_system,
)

LOCKED = "All hosts are unlocked/enabled: [Fail]\nLocked or disabled hosts: controller-1\n"


def system(**changed: Any) -> dict[str, Any]:
    return {"isystems": [{"system_mode": "simplex", "software_version": "22.12", **changed}]}


def oam(address: Any) -> dict[str, Any]:
    return {"iextoams": [{"oam_floating_ip": address, "oam_c0_ip": None}]}


def groups(*rows: tuple[str, str, str]) -> dict[str, Any]:
    keys = ("service_group_name", "node_name", "state")
    return {"sm_servicegroup": [dict(zip(keys, row, strict=True)) for row in rows]}


@pytest.mark.parametrize(
    ("report", "blocking"),
    [
        ("No alarms: [OK]\n", False),
        (f"{LOCKED}No alarms: [OK]\n", False),
        ("No alarms: [Fail]\n[2] alarms found, [0] of which are management affecting\n", False),
        ("No alarms: [Fail]\n[3] alarms found, [1] of which are management affecting\n", True),
        ("No alarms: [Fail]\n[10] alarms found, [10] of which are management affecting\n", True),
        (
            "No alarms: [Fail]\n[4] alarms found, [0] of which are management affecting and [1] are certificate"
            ' expiration alarms. Use "fm alarm-list" for details\n',
            False,
        ),
        ("", False),
        ("no alarms: [fail]\n[1] of which are management affecting\n", False),
        ("No alarms: [Fail]\n", True),
    ],
    ids=["none", "locked-host", "harmless", "one", "ten", "certificate", "empty", "other-case", "no-count"],
)
def test_alarms(report: str, blocking: bool) -> None:
    """Alarms block when the alarm check failed and it does not say that none affects management; nothing else does."""
    assert blocking is has_blocking_alarms(report)


@pytest.mark.parametrize("body", [{"text": "System Health:"}, None, 3, ["x"]])
def test_health_is_a_text(body: Any) -> None:
    """A health that is no text is no health: upstream would crash on it."""
    with pytest.raises(SiteRequestError, match="not a text"):
        read_health(body)


def test_the_first_system_counts() -> None:
    """There is one system; were there more, the first would count."""
    two = {"isystems": [*system()["isystems"], *system(system_mode="duplex")["isystems"]]}

    assert System(mode="simplex", software_version="22.12") == read_system(two)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"isystems": []},
        {"isystems": None},
        {"isystems": ["edge"]},
        [],
        None,
        system(system_mode=None),
        system(software_version=None),
        system(software_version="nightly"),
    ],
)
def test_an_unusable_system(body: Any) -> None:
    """A system without mode or version is not guessed at."""
    with pytest.raises(SiteRequestError):
        read_system(body)


@pytest.mark.parametrize("address", ["10.10.20.5", "2620:10a::15"])
def test_oam_address(address: str) -> None:
    """The floating address is taken as it is, of either family."""
    assert address == read_oam_address(oam(address))


@pytest.mark.parametrize("body", [{"iextoams": []}, oam(None), oam(""), oam("10.10.20.5/24"), oam("{{ x }}"), {}])
def test_no_oam_address(body: Any) -> None:
    """No address is a failure: written into an inventory it would be a host named null."""
    with pytest.raises(SiteRequestError):
        read_oam_address(body)


@pytest.mark.parametrize(("personality", "active"), [("Controller-Active", True), ("Controller-Standby", False)])
def test_active_controller(personality: str, active: bool) -> None:
    """A controller says itself whether it is the active one."""
    assert active is is_active_controller({"capabilities": {"Personality": personality}})


@pytest.mark.parametrize("body", [{}, {"capabilities": {}}, {"capabilities": "x"}, []])
def test_a_host_that_does_not_say(body: Any) -> None:
    """A host that does not say what it is is not guessed at."""
    with pytest.raises(SiteRequestError):
        is_active_controller(body)


@pytest.mark.parametrize(
    ("body", "online"),
    [
        (groups(), False),
        (groups(("oam", "c0", "active")), True),
        (groups(("oam", "c0", "standby"), ("oam", "c1", "active")), True),
        (groups(("oam", "c0", "active"), ("vim", "c0", "disabled")), False),
        (groups(("oam", "c0", "go-active")), False),
    ],
)
def test_serving(body: Any, online: bool) -> None:
    """A site is online when there is a group and each is active on some node."""
    assert online is is_serving(body)


@pytest.mark.parametrize(
    "body", [{}, {"sm_servicegroup": None}, {"sm_servicegroup": [1]}, None, groups()["sm_servicegroup"]]
)
def test_no_groups(body: Any) -> None:
    """An answer without a list of groups is no answer."""
    with pytest.raises(SiteRequestError):
        is_serving(body)


def test_a_group_without_a_name() -> None:
    """A group that has no name is no usable answer."""
    with pytest.raises(SiteRequestError):
        is_serving({"sm_servicegroup": [{"state": "active"}]})


@pytest.mark.parametrize(
    ("judge", "body", "busy"),
    [
        (has_upgrade, {"upgrades": []}, False),
        (has_upgrade, {"upgrades": [{"state": "completed"}]}, True),
        (has_deploy, [], False),
        (has_deploy, [{"state": "completed"}], True),
    ],
)
def test_upgrades(judge: Callable[[Any], bool], body: Any, busy: bool) -> None:
    """A controller is busy as long as it lists an upgrade, whatever its state."""
    assert busy is judge(body)


@pytest.mark.parametrize(
    ("judge", "body"),
    [
        (has_upgrade, []),
        (has_upgrade, {"error_message": "x"}),
        (has_deploy, {"error": "no"}),
        (has_deploy, {"error": ""}),
        (has_deploy, {}),
        (has_deploy, None),
    ],
)
def test_no_word_of_upgrades(judge: Callable[[Any], bool], body: Any) -> None:
    """What is no list never means that nothing is upgraded."""
    with pytest.raises(SiteRequestError):
        judge(body)
