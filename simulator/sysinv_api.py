"""Answers of sysinv about one system, and of USM: plain values in, JSON values out.

Texts and shapes are those of StarlingX; only facts that an inspector may read are served.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import NAMESPACE_DNS, uuid5

from aiohttp import web

from simulator.site_spec import SiteSpec, sysinv_error

_CREATED_AT: Final = "2026-03-01T10:00:00.000000+00:00"


def isystems(spec: SiteSpec) -> dict[str, Any]:
    """Return the list of the one system."""
    system: dict[str, Any] = {
        "uuid": _uuid(spec, "system"),
        "name": spec.name,
        "system_type": "All-in-one",
        "system_mode": spec.system_mode,
        "description": None,
        "contact": None,
        "location": None,
        "latitude": None,
        "longitude": None,
        "software_version": spec.software_version,
        "timezone": "UTC",
        "region_name": spec.name,
        "service_project_name": "services",
        "distributed_cloud_role": spec.role,
        "security_feature": "spectre_meltdown_v1",
        "capabilities": {"region_config": False, "sdn_enabled": False, "https_enabled": True},
        "links": [],
        "created_at": _CREATED_AT,
        "updated_at": None,
    }
    return {"isystems": [system]}


def health(spec: SiteSpec) -> str:
    """Return the report of the system's health, which is one text."""
    lines = ["System Health:", "All hosts are provisioned: [OK]"]
    locked = f"Locked or disabled hosts: {', '.join(spec.locked_hosts)}" if spec.locked_hosts else None
    lines += _check("All hosts are unlocked/enabled", locked)
    lines += ["All hosts have current configurations: [OK]", "All hosts are patch current: [OK]"]
    lines += _check("No alarms", _alarm_line(spec) if spec.alarms else None)
    lines += ["All kubernetes nodes are ready: [OK]", "All kubernetes control plane pods are ready: [OK]"]
    return "\n".join(lines) + "\n"


def _check(name: str, failure: str | None) -> list[str]:
    return [f"{name}: [OK]"] if failure is None else [f"{name}: [Fail]", failure]


def _alarm_line(spec: SiteSpec) -> str:
    line = f"[{spec.alarms}] alarms found, [{spec.management_affecting_alarms}] of which are management affecting"
    if spec.certificate_alarms is None:
        return line
    return f'{line} and [{spec.certificate_alarms}] are certificate expiration alarms. Use "fm alarm-list" for details'


def iextoam(spec: SiteSpec) -> dict[str, Any]:
    """Return the OAM network; duplex systems have an address for each controller too."""
    if spec.oam_floating_ip is None:
        return {"iextoams": []}
    is_simplex = spec.system_mode == "simplex"
    network: dict[str, Any] = {
        "uuid": _uuid(spec, "oam"),
        "oam_subnet": "10.10.10.0/24",
        "oam_gateway_ip": "10.10.10.1",
        "oam_floating_ip": spec.oam_floating_ip,
        "oam_c0_ip": None if is_simplex else "10.10.10.3",
        "oam_c1_ip": None if is_simplex else "10.10.10.4",
        "oam_start_ip": "10.10.10.1",
        "oam_end_ip": "10.10.10.254",
        "region_config": False,
        "isystem_uuid": _uuid(spec, "system"),
        "links": [],
        "created_at": _CREATED_AT,
        "updated_at": None,
    }
    return {"iextoams": [network]}


def ihost(spec: SiteSpec, hostname: str) -> dict[str, Any] | None:
    """Return one controller; None when the system has none of that name."""
    known = ("controller-0",) if spec.system_mode == "simplex" else ("controller-0", "controller-1")
    if hostname not in known:
        return None
    is_active = hostname == spec.active_controller
    return {
        "id": known.index(hostname) + 1,
        "uuid": _uuid(spec, hostname),
        "hostname": hostname,
        "personality": "controller",
        "administrative": "unlocked",
        "operational": "enabled",
        "availability": "available",
        "mgmt_ip": "192.168.101.2",
        "sw_version": spec.software_version,
        "capabilities": {"Personality": "Controller-Active" if is_active else "Controller-Standby"},
    }


def servicegroup(spec: SiteSpec) -> dict[str, Any]:
    """Return the state of every service group on every node."""
    groups = [
        {
            "uuid": _uuid(spec, f"{group}/{node}"),
            "name": group,
            "service_group_name": group,
            "node_name": node,
            "state": state,
            "desired_state": "active",
            "status": "",
            "condition": "",
        }
        for group, nodes in spec.service_groups.items()
        for node, state in nodes.items()
    ]
    return {"sm_servicegroup": groups}


def upgrade(spec: SiteSpec) -> web.Response:
    """Return the upgrades of sysinv; releases that upgrade by USM answer with an error."""
    if spec.upgrades is None:
        return sysinv_error(500, "Server", "This API is deprecated.")
    return web.json_response({"upgrades": spec.upgrades})


def deploy(spec: SiteSpec) -> web.Response:
    """Return the software deploys of USM."""
    if spec.deploys is None:
        return web.json_response({"error": "Not Found"}, status=404)
    return web.json_response(spec.deploys)


def _uuid(spec: SiteSpec, of: str) -> str:
    return str(uuid5(NAMESPACE_DNS, f"{of}.{spec.name}"))
