"""The fields of a subcloud as callers write them, read into columns (contract 4.1, 4.2). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.refusals import bad_request
from actors.requests import read_body, read_request
from messages.requests.reading import Request
from messages.requests.subcloud import ImportedSubcloud, ImportedSubcloudChange, NewSubcloud, SubcloudChange
from messages.resources import NO_ERRORS
from statemachine.states import Availability, ManagementState


def read_new(data: Mapping[str, Any], *, default_version: str) -> dict[str, Any]:
    """Return the columns of a new subcloud, without its group and times.

    Raises:
        Refused: 400 naming the first wrong field.
    """
    return _new(_called(_given(read_body(NewSubcloud, data))), default_version)


def read_new_imported(data: Mapping[str, Any], *, default_version: str) -> dict[str, Any]:
    """Return the columns of a new subcloud of the operator's file, without its group and times.

    Raises:
        Refused: 400 naming the first wrong field.
    """
    return _new(_imported(_given(read_request(ImportedSubcloud, data))), default_version)


def read_imported_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that the operator's file changes; unknown keys are ignored.

    Raises:
        Refused: 400 naming the first wrong field.
    """
    return _imported(_given(read_request(ImportedSubcloudChange, data)))


def _called(given: dict[str, Any]) -> dict[str, Any]:
    """Return the same with the connection variables as a caller's."""
    if "connection" in given:
        given["caller_connection"] = given.pop("connection")
    return given


def _imported(given: dict[str, Any]) -> dict[str, Any]:
    """Return the same with the connection variables as the operator's own."""
    if "connection" in given:
        # The file says all that there is to say, so nothing is missing any more.
        given["removed_variables"] = []
    return given


def _new(given: dict[str, Any], default_version: str) -> dict[str, Any]:
    given.pop("force", None)
    values = {
        "description": None,
        "location": None,
        "software_version": default_version,
        "management_state": ManagementState.UNMANAGED,
        "availability_status": Availability.OFFLINE,
        "deploy_status": "complete",
        "error_description": NO_ERRORS,
        "openstack_installed": False,
        "system_mode": "simplex",
        "management_alarms": 0,
        "connection": {},
        "caller_connection": {},
        "removed_variables": [],
        "probe_failures": 0,
        "region_name": given["name"],
        **given,
    }
    if not values["software_version"]:
        raise bad_request("software_version required: the system controller's own release is not configured")
    return values


def read_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that `data` changes, and `force` where it is given.

    Raises:
        Refused: 400 naming the first wrong field.
    """
    return _called(_given(read_body(SubcloudChange, data)))


def _given(request: Request) -> dict[str, Any]:
    """Return what was given, but for the group, which is looked up by whoever has a database."""
    given = request.model_dump(exclude_none=True, exclude={"group"})
    # The address that the client gives stands in where no OAM address is given.
    address = given.pop("bootstrap_address", None)
    return given if address is None else {"oam_floating_ip": address, **given}
