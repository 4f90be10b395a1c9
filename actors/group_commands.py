"""Create, update and delete subcloud groups (contract 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping, delete

from actors.desk import Desk
from actors.refusals import bad_request, not_found
from db.inventory import add, change, find_group, group_is_empty, is_taken
from db.schema import subcloud_groups
from messages.commands import Command
from messages.resources import group_resource
from statemachine.states import ApplyType

DEFAULT_GROUP: Final = "Default"
_MAX_PARALLEL: Final = 500
_TEXT_LENGTH: Final = 255
# Characters that HEAD refuses in a name, for it may be taken for a pattern.
_NO_PATTERN: Final = frozenset(".*+?|()[]{}^$")
# What the client leaves out when the operator does.
_DEFAULT_WIDTH: Final = 2


def create_group(desk: Desk, command: Command) -> dict[str, Any]:
    """Create a group.

    Raises:
        Refused: 400 with the contract's text for the first wrong field.
    """
    data = command.data
    values: dict[str, Any] = {
        "name": _read_name(data.get("name")),
        "description": _read_description(data.get("description")),
        "update_apply_type": _read_apply_type(data.get("update_apply_type", ApplyType.PARALLEL)),
        "max_parallel_subclouds": _read_width(data.get("max_parallel_subclouds", _DEFAULT_WIDTH)),
        "created_at": desk.at,
    }
    if is_taken(desk.connection, subcloud_groups, values["name"]):
        raise bad_request("A subcloud group with this name already exists")
    return group_resource(add(desk.connection, subcloud_groups, values))


def update_group(desk: Desk, command: Command) -> dict[str, Any]:
    """Change a group; a strategy that exists keeps the stages it has.

    Raises:
        Refused: 404, or 400 with the contract's text for the first fault.
    """
    group = _find(desk, command)
    values = _read_changes(command.data, group)
    if not values:
        raise bad_request("nothing to update")
    if "name" in values and is_taken(desk.connection, subcloud_groups, values["name"], but_id=group["id"]):
        raise bad_request("A subcloud group with this name already exists")
    return group_resource(change(desk.connection, subcloud_groups, group["id"], {**values, "updated_at": desk.at}))


def delete_group(desk: Desk, command: Command) -> None:
    """Remove an empty group.

    Raises:
        Refused: 404; 400 for the Default group and for one with members.
    """
    group = _find(desk, command)
    if group["name"] == DEFAULT_GROUP:
        raise bad_request("Default Subcloud Group may not be deleted")
    if not group_is_empty(desk.connection, group["id"]):
        raise bad_request("Subcloud Group not empty")
    desk.connection.execute(delete(subcloud_groups).where(subcloud_groups.c.id == group["id"]))


def _find(desk: Desk, command: Command) -> RowMapping:
    group = find_group(desk.connection, command.subject or "")
    if group is None:
        raise not_found("Subcloud Group not found")
    return group


def _read_changes(data: Mapping[str, Any], group: RowMapping) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if data.get("name") is not None:
        if group["name"] == DEFAULT_GROUP and data["name"] != DEFAULT_GROUP:
            raise bad_request("Default group name cannot be changed")
        if data["name"] != group["name"]:
            values["name"] = _read_name(data["name"])
    if data.get("description") is not None:
        values["description"] = _read_description(data["description"])
    if data.get("update_apply_type") is not None:
        values["update_apply_type"] = _read_apply_type(data["update_apply_type"])
    if data.get("max_parallel_subclouds") is not None:
        values["max_parallel_subclouds"] = _read_width(data["max_parallel_subclouds"])
    return values


def _read_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _TEXT_LENGTH:
        raise bad_request("Invalid group name")
    if value.isdigit() or value.casefold() == DEFAULT_GROUP.casefold() or _NO_PATTERN.intersection(value):
        raise bad_request("Invalid group name")
    return value


def _read_description(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > _TEXT_LENGTH:
        raise bad_request("Invalid group description")
    return value


def _read_apply_type(value: Any) -> str:
    if value not in (ApplyType.PARALLEL, ApplyType.SERIAL):
        raise bad_request("Invalid group update_apply_type")
    return str(value)


def _read_width(value: Any) -> int:
    """Return the width; the client sends text on add and a number on update (contract 5)."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > 4:  # noqa: PLR2004 - no int of a book
        raise bad_request("Invalid group max_parallel_subclouds")
    if not 1 <= int(text) <= _MAX_PARALLEL:
        raise bad_request("Invalid group max_parallel_subclouds")
    return int(text)
