"""Facts of a simulated site; each may be changed while it is served."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.faults import Fault

# Nodes and their states by service group, as Service Management tells them.
ServiceGroups = dict[str, dict[str, str]]

# Key of `SiteSpec.faults` for all operations at once.
EVERYTHING: Final = "*"

_GROUPS: Final = (
    "oam-services",
    "controller-services",
    "cloud-services",
    "vim-services",
    "patching-services",
    "directory-services",
    "web-services",
)


def active_groups(node: str = "controller-0") -> ServiceGroups:
    """Return the service groups of a site that is well, all active on one node."""
    return {name: {node: "active"} for name in _GROUPS}


@dataclass(kw_only=True)
class Account:
    """Login of a site."""

    username: str = "dcmanager"
    password: str = "fleet-password"  # noqa: S105 - of simulated sites
    project: str = "services"
    user_domain: str = "Default"
    project_domain: str = "Default"
    roles: tuple[str, ...] = ("admin", "member", "reader")


@dataclass(kw_only=True)
class SiteSpec:
    """One site, or a system controller: its addresses, its facts, and its faults."""

    name: str
    # Where it listens; port 0 takes a free one. Without a port of its own sysinv (and USM) share Keystone's.
    host: str = "127.0.0.1"
    keystone_port: int = 0
    sysinv_port: int | None = None
    account: Account = field(default_factory=Account)
    # How long a token is good, in seconds.
    token_life_s: float = 3600.0

    # simplex, duplex or duplex-direct.
    system_mode: str = "simplex"
    software_version: str = "22.12"
    # subcloud or systemcontroller.
    role: str = "subcloud"
    alarms: int = 0
    # Of the alarms.
    management_affecting_alarms: int = 0
    # Of the alarms; None: the release does not tell them apart.
    certificate_alarms: int | None = None
    locked_hosts: tuple[str, ...] = ()
    # None: no OAM network is listed. Empty: it is listed without a floating address.
    oam_floating_ip: str | None = "10.10.10.2"
    active_controller: str = "controller-0"
    service_groups: ServiceGroups = field(default_factory=active_groups)

    # What an upgrade of a system controller looks like, by sysinv: a list of upgrades, None for a release whose sysinv
    # no longer answers; by USM: a list, or the object that tells an error, None for a release without USM.
    upgrades: list[dict[str, Any]] | None = field(default_factory=list)
    deploys: list[dict[str, Any]] | dict[str, Any] | None = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    # What dcmanager of a system controller lists.
    subclouds: list[dict[str, Any]] = field(default_factory=list)

    # Waited before each answer, in seconds.
    delay_s: float = 0.0
    # By operation: login, isystems, health, iextoam, ihosts, servicegroup, upgrade, deploy, release, subclouds; or
    # EVERYTHING.
    faults: dict[str, Fault] = field(default_factory=dict)
    # Requests that came, by operation.
    requests: Counter[str] = field(default_factory=Counter)
