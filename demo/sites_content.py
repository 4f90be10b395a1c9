"""Makes a fleet of twelve edge sites out of directories, with an inventory of how each is reached and what it is.

Six sites succeed; the others show, one each, what an operator meets: offline, unmanaged, duplex, too small for the
images, with another password, and already on the target release (a reinstall).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from demo.feed import DemoFeeds, build_feeds
from demo.images import DemoImages, build_images

INVENTORY_NAME = "fleet.yml"
# Small enough for any machine; the default is meant for a real backup partition.
MIN_FREE_BYTES = 16 * 1024 * 1024
# Less than the images need.
SMALL_QUOTA_BYTES = 64 * 1024


class DemoOutcome(StrEnum):
    """Expected end of a site in a strategy over the whole fleet."""

    # Packages and images are on the site.
    COMPLETE = "complete"
    # The step is complete, but with a reason and without any work.
    SKIPPED = "skipped"
    # The step failed.
    FAILED = "failed"
    # The site gets no step.
    LEFT_OUT = "left-out"


@dataclass(frozen=True, kw_only=True)
class DemoGroup:
    """A group of sites."""

    name: str
    # serial or parallel.
    apply_type: str
    max_parallel: int


@dataclass(frozen=True, kw_only=True)
class DemoSite:
    """One site: what Prestager knows of it, and the Ansible variables that reach it."""

    name: str
    group: str
    software_version: str
    oam_address: str
    management_state: str = "managed"
    availability_status: str = "online"
    system_mode: str = "simplex"
    # All variables of the host, those of its group and of the fleet included.
    host_vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Expected ends of the demonstration's sites."""

    outcome: DemoOutcome
    # Part of the step's details, or of the reason for which the site is left out; empty: no details.
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DemoFleet:
    """Everything that `build_fleet` made."""

    root: Path
    groups: tuple[DemoGroup, ...]
    sites: tuple[DemoSite, ...]
    # Ansible inventory with the same content.
    inventory: Path
    feeds: DemoFeeds
    images: DemoImages
    # Holds <release>/prestage_images_list.txt.
    deploy_directory: Path
    # Site name → what must become of it.
    expected: Mapping[str, Expected]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Differences of one site from an ordinary one."""

    group: str
    expected: Expected = Expected(outcome=DemoOutcome.COMPLETE)
    management_state: str = "managed"
    availability_status: str = "online"
    system_mode: str = "simplex"
    reinstall: bool = False
    # Its password is not the fleet's; without meaning where sites are directories, which have none.
    has_other_password: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)


GROUPS = (
    DemoGroup(name="north", apply_type="parallel", max_parallel=4),
    DemoGroup(name="south", apply_type="serial", max_parallel=2),
    DemoGroup(name="west", apply_type="parallel", max_parallel=3),
)

_PLANS: Mapping[str, _Plan] = {
    "edge-01": _Plan(group="north"),
    "edge-02": _Plan(group="north"),
    "edge-03": _Plan(
        group="north",
        availability_status="offline",
        expected=Expected(outcome=DemoOutcome.LEFT_OUT, reason="Subcloud is offline."),
    ),
    "edge-04": _Plan(
        group="north",
        has_other_password=True,
        expected=Expected(outcome=DemoOutcome.FAILED, reason="refused the login sysadmin@"),
    ),
    "edge-05": _Plan(group="north", reinstall=True),
    "edge-06": _Plan(
        group="south",
        system_mode="duplex",
        expected=Expected(outcome=DemoOutcome.SKIPPED, reason="only accepted for a simplex subcloud"),
    ),
    "edge-07": _Plan(group="south"),
    "edge-08": _Plan(
        group="south",
        variables={"prestage_image_quota_bytes": SMALL_QUOTA_BYTES},
        expected=Expected(outcome=DemoOutcome.FAILED, reason="Not enough space for the images"),
    ),
    "edge-09": _Plan(group="west"),
    "edge-10": _Plan(
        group="west",
        management_state="unmanaged",
        expected=Expected(outcome=DemoOutcome.LEFT_OUT, reason="Subcloud is not managed."),
    ),
    "edge-11": _Plan(group="west"),
    "edge-12": _Plan(group="west"),
}


SITE_NAMES = tuple(_PLANS)
# One for each way in which a site can end.
QUICK_SITE_NAMES = ("edge-01", "edge-03", "edge-04", "edge-05", "edge-06", "edge-08")
# Whoever serves the sites has to give these another password.
OTHER_PASSWORD_NAMES = frozenset(name for name, plan in _PLANS.items() if plan.has_other_password)


def build_fleet(
    root: Path,
    *,
    package_count: int = 40,
    reach: Mapping[str, Mapping[str, Any]] | None = None,
    names: Collection[str] = SITE_NAMES,
) -> DemoFleet:
    """Make feeds, images, sites and the inventory below `root`; what an earlier call made there is replaced.

    The controller's side is `root`/controller (feed/, deploy/), a site's side is `root`/sites/<name> (feed/, backup/).
    `reach` holds the connection variables of each site; without it sites are reached as directories of this machine.
    Sites that `names` leaves out are not made, nor are groups without a site.
    """
    root = root.resolve()
    for directory in (root / "controller", root / "sites"):
        shutil.rmtree(directory, ignore_errors=True)
    deploy = root / "controller" / "deploy"
    feeds = build_feeds(root / "controller" / "feed", package_count=package_count)
    (deploy / feeds.target).mkdir(parents=True)
    images = build_images(deploy / feeds.target)
    shared = {
        **({"ansible_connection": "local", "ansible_become": False} if reach is None else {}),
        "ansible_python_interpreter": sys.executable,
        "controller_feed_root": str(feeds.root),
        "prestage_shared_root": str(deploy / feeds.target / "prestage" / "shared"),
        "prestage_min_free_bytes": MIN_FREE_BYTES,
    }
    connection = reach or {}
    plans = {name: plan for name, plan in _PLANS.items() if name in names}
    own = {name: {**_build_site(root, name, plan, feeds), **connection.get(name, {})} for name, plan in plans.items()}
    inventory = root / INVENTORY_NAME
    inventory.write_text(yaml.safe_dump(_inventory(shared, own), sort_keys=False), encoding="utf-8")
    return DemoFleet(
        root=root,
        groups=tuple(group for group in GROUPS if any(plan.group == group.name for plan in plans.values())),
        sites=tuple(_site(name, plan, {**shared, **own[name]}) for name, plan in plans.items()),
        inventory=inventory,
        feeds=feeds,
        images=images,
        deploy_directory=deploy,
        expected={name: _expected(plan, has_password=reach is not None) for name, plan in plans.items()},
    )


def _build_site(root: Path, name: str, plan: _Plan, feeds: DemoFeeds) -> dict[str, Any]:
    """Make the directories of one site and return the variables that only it has."""
    place = root / "sites" / name
    version = feeds.target if plan.reinstall else feeds.previous
    feed = place / "feed" / f"rel-{version}"
    shutil.copytree(feeds.root / f"rel-{version}", feed)
    backup = place / "backup"
    backup.mkdir()
    if plan.reinstall:
        # No list is handed to a reinstall: its images are what the site itself has.
        build_images(backup)
    return {
        "prestager_group": plan.group,
        "prestager_software_version": version,
        "prestager_management_state": plan.management_state,
        "prestager_availability_status": plan.availability_status,
        "prestager_system_mode": plan.system_mode,
        "prestager_oam_address": _address(name),
        "platform_backup_dir": str(backup),
        "site_feed_dir": str(feed),
        **plan.variables,
    }


def _expected(plan: _Plan, *, has_password: bool) -> Expected:
    return Expected(outcome=DemoOutcome.COMPLETE) if plan.has_other_password and not has_password else plan.expected


def _site(name: str, plan: _Plan, host_vars: dict[str, Any]) -> DemoSite:
    return DemoSite(
        name=name,
        group=plan.group,
        software_version=host_vars["prestager_software_version"],
        oam_address=host_vars["prestager_oam_address"],
        management_state=plan.management_state,
        availability_status=plan.availability_status,
        system_mode=plan.system_mode,
        host_vars={**host_vars, **_group_vars(plan.group)},
    )


def _inventory(shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    children = {
        group.name: {"hosts": hosts, "vars": _group_vars(group.name)}
        for group in GROUPS
        if (hosts := {name: dict(variables) for name, variables in own.items() if _PLANS[name].group == group.name})
    }
    return {"all": {"vars": dict(shared), "children": children}}


def _group_vars(name: str) -> dict[str, Any]:
    group = next(group for group in GROUPS if group.name == name)
    return {"prestager_group_apply_type": group.apply_type, "prestager_group_max_parallel": group.max_parallel}


def _address(name: str) -> str:
    """Return an address of the documentation network: nothing is ever sent there."""
    return f"192.0.2.{int(name.rsplit('-', 1)[1])}"
