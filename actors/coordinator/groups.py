"""Create, update and delete subcloud groups (contract 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, delete

from actors.coordinator.context import CommandContext, read_body
from actors.coordinator.errors import bad_request, not_found
from db.inventory import add, change, find_group, group_is_empty, is_taken
from db.schema import subcloud_groups
from messages.commands import Command
from messages.inventory_schemas import Group
from messages.requests.group import DEFAULT_GROUP, GroupChange, GroupRequest
from messages.serializers import group_resource


def create_group(context: CommandContext, command: Command) -> Group:
    """Create a group.

    Raises:
        CommandRefusedError: 400 with the contract's text for the first wrong field.
    """
    values = {**read_body(GroupRequest, command.data).columns(), "created_at": context.at}
    if is_taken(context.connection, subcloud_groups, values["name"]):
        raise bad_request("A subcloud group with this name already exists")
    return group_resource(add(context.connection, subcloud_groups, values))


def update_group(context: CommandContext, command: Command) -> Group:
    """Change a group; a strategy that exists keeps the stages it has.

    Raises:
        CommandRefusedError: 404, or 400 with the contract's text for the first error.
    """
    group = _find(context, command)
    values = _read_changes(command.data, group)
    if not values:
        raise bad_request("nothing to update")
    if "name" in values and is_taken(context.connection, subcloud_groups, values["name"], but_id=group["id"]):
        raise bad_request("A subcloud group with this name already exists")
    return group_resource(
        change(context.connection, subcloud_groups, group["id"], {**values, "updated_at": context.at})
    )


def delete_group(context: CommandContext, command: Command) -> None:
    """Remove an empty group.

    Raises:
        CommandRefusedError: 404; 400 for the Default group and for one with members.
    """
    group = _find(context, command)
    if group["name"] == DEFAULT_GROUP:
        raise bad_request("Default Subcloud Group may not be deleted")
    if not group_is_empty(context.connection, group["id"]):
        raise bad_request("Subcloud Group not empty")
    context.connection.execute(delete(subcloud_groups).where(subcloud_groups.c.id == group["id"]))


def _find(context: CommandContext, command: Command) -> RowMapping:
    group = find_group(context.connection, command.subject or "")
    if group is None:
        raise not_found("Subcloud Group not found")
    return group


def _read_changes(data: Mapping[str, Any], group: RowMapping) -> dict[str, Any]:
    name = data.get("name")
    if name is not None and group["name"] == DEFAULT_GROUP != name:
        raise bad_request("Default group name cannot be changed")
    if name == group["name"]:
        # Its own name is right, whatever the rules for new ones.
        data = {key: value for key, value in data.items() if key != "name"}
    return read_body(GroupChange, data).columns()
