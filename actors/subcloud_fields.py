"""The fields of a subcloud as callers write them, read into columns (contract 4.1, 4.2). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final

from actors.refusals import bad_request
from actors.strategy_request import read_flag
from messages.resources import NO_ERRORS
from statemachine.states import Availability, ManagementState
from statemachine.versions import is_release

_TEXT_LENGTH: Final = 255
_CONNECTION_BYTES: Final = 16_384
_STATUS: Final = re.compile(r"[a-z][a-z-]{0,63}")
_SYSTEM_MODES: Final = ("simplex", "duplex", "duplex-direct")

# Each spelling of the bootstrap values (upstream's YAML) and of our JSON, and the column that it fills.
_TEXTS: Final = {
    "description": "description",
    "location": "location",
    "management_subnet": "management_subnet",
    "management-subnet": "management_subnet",
    "management_start_address": "management_start_ip",
    "management-start-ip": "management_start_ip",
    "management_end_address": "management_end_ip",
    "management-end-ip": "management_end_ip",
    "management_gateway_address": "management_gateway_ip",
    "management-gateway-ip": "management_gateway_ip",
    "systemcontroller_gateway_address": "systemcontroller_gateway_ip",
    "systemcontroller-gateway-ip": "systemcontroller_gateway_ip",
    "software_version": "software_version",
    "software-version": "software_version",
    "deploy-status": "deploy_status",
}
_ADDRESSES: Final = {
    "external_oam_floating_address": "oam_floating_ip",
    "oam_floating_ip": "oam_floating_ip",
}
_NETWORKS: Final = frozenset({"management_subnet"})
_HOSTS: Final = frozenset(
    {"management_start_ip", "management_end_ip", "management_gateway_ip", "systemcontroller_gateway_ip"}
)
# What the playbooks need to know of a connection and must never keep: it comes with each command, sealed.
_SECRET_WORDS: Final = ("pass", "secret", "token", "private_key")


def read_new(data: Mapping[str, Any], *, default_version: str) -> dict[str, Any]:
    """Return the columns of a new subcloud, without its group and times.

    Raises:
        Refused: 400 naming the first wrong field.
    """
    values: dict[str, Any] = {
        "name": _read_name(data.get("name")),
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
        "probe_failures": 0,
    }
    values["region_name"] = values["name"]
    # The address that the client must give, for a file that names none.
    if data.get("bootstrap-address") is not None:
        values["oam_floating_ip"] = _read_address("bootstrap-address", data["bootstrap-address"])
    values |= read_changes({key: value for key, value in data.items() if key != "name"})
    values.pop("force", None)
    if not values["software_version"]:
        raise bad_request("software_version required: the system controller's own release is not configured")
    return values


def read_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that `data` changes, and `force` where it is given; unknown keys are ignored.

    Raises:
        Refused: 400 naming the first wrong field.
    """
    values: dict[str, Any] = {}
    for key, value in data.items():
        if value is None:
            continue
        if key in _TEXTS:
            values[_TEXTS[key]] = _read_text(key, value, _TEXTS[key])
        elif key in _ADDRESSES:
            values[_ADDRESSES[key]] = _read_address(key, value)
        elif key in _READERS:
            column, reader = _READERS[key]
            values[column] = reader(value)
    return values


def _read_name(value: Any) -> str:
    if not value:
        raise bad_request("name required")
    if not isinstance(value, str) or not any(char.isalpha() for char in value):
        raise bad_request("name must contain alphabetic characters")
    # The name becomes part of paths on the controller and of the inventory.
    if len(value) > _TEXT_LENGTH or not all(char.isalnum() or char in "._-" for char in value) or value[0] in ".-":
        raise bad_request("name must have at most 255 letters, digits, dots, dashes and underscores")
    return value


def _read_text(key: str, value: Any, column: str) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool) or len(str(value)) > _TEXT_LENGTH:
        raise bad_request(f"Invalid {key}: give a text of at most {_TEXT_LENGTH} characters")
    text = str(value)
    try:
        if column in _NETWORKS:
            ip_network(text, strict=False)
        elif column in _HOSTS:
            ip_address(text)
    except ValueError as error:
        raise bad_request(f"Invalid {key}: {text} is not an IP address or network") from error
    if column == "deploy_status" and not _STATUS.fullmatch(text):
        raise bad_request(f"Invalid {key}: give a status such as complete, at most 64 small letters and dashes")
    if column == "software_version" and not is_release(text):
        raise bad_request(f"Invalid {key}: give the version as MM.mm, such as 22.12")
    return text


def _read_address(key: str, value: Any) -> str:
    """Return an OAM address; one per stack may be given, separated by commas, and the first is the primary."""
    text = str(value).split(",")[0].strip()
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise bad_request(f"Invalid {key}: {text[:64]} is not an IP address") from error


def _read_management(value: Any) -> str:
    if value not in (ManagementState.MANAGED, ManagementState.UNMANAGED):
        raise bad_request("Invalid management-state")
    return str(value)


def _read_availability(value: Any) -> str:
    if value not in (Availability.ONLINE, Availability.OFFLINE):
        raise bad_request("Invalid availability-status: give online or offline")
    return str(value)


def _read_mode(value: Any) -> str:
    if value not in _SYSTEM_MODES:
        raise bad_request(f"Invalid system_mode: give one of {', '.join(_SYSTEM_MODES)}")
    return str(value)


def _read_alarms(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > 4:  # noqa: PLR2004 - a count of alarms
        raise bad_request("Invalid management-alarms: give the number of management-affecting alarms")
    return int(text)


def _read_force(value: Any) -> bool:
    try:
        return read_flag("force", value)
    except Exception as error:
        raise bad_request("Invalid force value") from error


def _read_connection(value: Any) -> dict[str, Any]:
    """Return Ansible connection variables; a secret among them is refused, for it would be kept and shown."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise bad_request("Invalid connection: give a JSON object of Ansible variables") from error
    if not isinstance(value, dict) or len(json.dumps(value)) > _CONNECTION_BYTES:
        raise bad_request("Invalid connection: give a JSON object of Ansible variables, at most 16 KiB")
    for name in value:
        if any(word in str(name).lower() for word in _SECRET_WORDS):
            raise bad_request(
                f"Invalid connection: {str(name)[:64]} looks like a secret; passwords come with each prestage command"
            )
    return {str(name): given for name, given in value.items()}


_READERS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "name": ("name", _read_name),
    "management-state": ("management_state", _read_management),
    "availability-status": ("availability_status", _read_availability),
    "system_mode": ("system_mode", _read_mode),
    "system-mode": ("system_mode", _read_mode),
    "management-alarms": ("management_alarms", _read_alarms),
    "connection": ("connection", _read_connection),
    "force": ("force", _read_force),
}
