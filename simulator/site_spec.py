"""Facts and faults of a simulated site; each may be changed while it is served.

Bodies of faults are those of the real servers: Keystone's and sysinv's errors are JSON, a proxy's are HTML pages.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from aiohttp import web

_PAGE: Final = "<html><body><h1>{status} {title}</h1>\n{sentence}\n</body></html>\n"


class FaultKind(StrEnum):
    """Faults of an operation."""

    # haproxy without a backend.
    UNAVAILABLE = "unavailable"
    # haproxy whose backend took too long.
    GATEWAY_TIMEOUT = "gateway-timeout"
    # sysinv broke: JSON with JSON in a string.
    BROKEN = "broken"
    # sysinv cannot ask its conductor or the fault manager; only its health says so.
    NO_HEALTH = "no-health"
    # The token, or the password, is not taken.
    UNAUTHORIZED = "unauthorized"
    # The role is not enough.
    FORBIDDEN = "forbidden"
    # The release has no such path.
    NOT_FOUND = "not-found"
    # 200 with a page.
    NOT_JSON = "not-json"
    # The connection ends before any answer.
    CUT = "cut"
    # Only late; the work is done.
    SLOW = "slow"


@dataclass(kw_only=True)
class Fault:
    """A fault of one operation; it goes away after `times` requests, None: it stays."""

    kind: FaultKind
    times: int | None = None
    # Waited before anything else, in seconds.
    delay_s: float = 0.0

    def strike(self) -> FaultKind | None:
        """Return what happens to this request; None: the fault is over."""
        if self.times is None:
            return self.kind
        if self.times <= 0:
            return None
        self.times -= 1
        return self.kind


def faulty_response(kind: FaultKind) -> web.Response | None:
    """Return the answer of a fault; None for those that are no answer."""
    make = _ANSWERS.get(kind)
    return make() if make is not None else None


def unauthorized() -> web.Response:
    """Return Keystone's answer to bad credentials, and that of its guard before the services to a bad token."""
    message = "The request you have made requires authentication."
    return web.json_response({"error": {"code": 401, "message": message, "title": "Unauthorized"}}, status=401)


def sysinv_error(status: int, code: str, sentence: str) -> web.Response:
    """Return an error of sysinv: the JSON that matters is a string within JSON."""
    inner = json.dumps({"faultcode": code, "faultstring": sentence, "debuginfo": None})
    return web.json_response({"error_message": inner}, status=status)


def _page(status: int, title: str, sentence: str) -> web.Response:
    text = _PAGE.format(status=status, title=title, sentence=sentence)
    return web.Response(status=status, text=text, content_type="text/html")


_ANSWERS: Final[Mapping[FaultKind, Callable[[], web.Response]]] = {
    FaultKind.UNAVAILABLE: lambda: _page(503, "Service Unavailable", "No server is available to handle this request."),
    FaultKind.GATEWAY_TIMEOUT: lambda: _page(504, "Gateway Time-out", "The server didn't respond in time."),
    FaultKind.BROKEN: lambda: sysinv_error(500, "Server", "Timeout while waiting on RPC response."),
    FaultKind.NO_HEALTH: lambda: sysinv_error(400, "Client", "Unable to perform health query."),
    FaultKind.UNAUTHORIZED: unauthorized,
    FaultKind.FORBIDDEN: lambda: sysinv_error(403, "Client", "Access was denied to this resource."),
    FaultKind.NOT_FOUND: lambda: sysinv_error(404, "Client", "The resource could not be found."),
    FaultKind.NOT_JSON: lambda: _page(200, "OK", "Welcome"),
}


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
