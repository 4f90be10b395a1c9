"""Rows of the inventory and of strategies, with values for every column that must have one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

CREATED = datetime(2022, 3, 3, 10, 0, 0, 123456, tzinfo=UTC)
# As every GET spells it.
CREATED_READ = "2022-03-03 10:00:00.123456"
STARTED = datetime(2022, 3, 3, 10, 5, 0, tzinfo=UTC)
STARTED_READ = "2022-03-03 10:05:00"
CREATED_ZONED = "2022-03-03T10:00:00.123+00:00"
STARTED_ZONED = "2022-03-03T10:05:00.000+00:00"


def group(group_id: int, name: str) -> dict[str, Any]:
    """Return a group."""
    return {
        "id": group_id,
        "name": name,
        "description": "a group",
        "update_apply_type": "parallel",
        "max_parallel_subclouds": 2,
        "created_at": CREATED,
    }


def subcloud(subcloud_id: int, name: str, **values: Any) -> dict[str, Any]:
    """Return a subcloud."""
    return {
        "id": subcloud_id,
        "name": name,
        "group_id": 1,
        "software_version": "21.12",
        "management_state": "managed",
        "availability_status": "online",
        "deploy_status": "complete",
        "error_description": "No errors present",
        "region_name": name,
        "openstack_installed": False,
        "system_mode": "simplex",
        "oam_floating_ip": None,
        "management_alarms": 0,
        "connection": {},
        "probe_failures": 0,
        "created_at": CREATED,
        **values,
    }


def strategy(strategy_id: int, **values: Any) -> dict[str, Any]:
    """Return a strategy."""
    return {
        "id": strategy_id,
        "type": "prestage",
        "stop_on_failure": False,
        "force": True,
        "release": "22.12",
        "for_sw_deploy": False,
        "state": "applying",
        "requested_by": "",
        "excluded": [],
        "created_at": CREATED,
        "finished_at": None,
        "deleted_at": None,
        **values,
    }


def step(step_id: int, name: str, **values: Any) -> dict[str, Any]:
    """Return a step."""
    return {
        "id": step_id,
        "strategy_id": None,
        "subcloud_name": name,
        "stage": 1,
        "state": "initial",
        "details": "",
        "release": "22.12",
        "force": False,
        "for_sw_deploy": False,
        "from_version": None,
        "version": 1,
        "started_at": None,
        "finished_at": None,
        "created_at": CREATED,
        **values,
    }


def run(run_id: int, phase: str, **values: Any) -> dict[str, Any]:
    """Return a run."""
    return {
        "id": run_id,
        "step_id": None,
        "preparation_id": None,
        "phase": phase,
        "attempt": 1,
        "state": "finished",
        "outcome": "succeeded",
        "details": "",
        "facts": {},
        "dispatched_at": 0.0,
        "cancel_requested": False,
        "consumed": True,
        **values,
    }


def preparation(preparation_id: int, **values: Any) -> dict[str, Any]:
    """Return a preparation."""
    return {
        "id": preparation_id,
        "strategy_id": None,
        "step_id": None,
        "release": "22.12",
        "from_version": "21.12",
        "opened_by_step_id": 1,
        "state": "complete",
        "details": "",
        "created_at": CREATED,
        **values,
    }
