"""Add, change, manage and remove subclouds (contract 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping, delete, select, update

from actors.coordinator.context import CommandContext, read_body, read_request, require_subcloud
from actors.coordinator.errors import CommandRefusedError, bad_request, conflict, unprocessable
from actors.coordinator.site_access import check_callers_access, is_moved, note_address_change, still_removed
from actors.coordinator.worker_checks import require_supported_release
from db.inventory import add, change, find_group, has_work, is_taken
from db.schema import steps, strategies, strategy_is_active, subclouds
from db.site_records import doubt
from messages.commands import Command
from messages.event_types import EmptyData, SubcloudUpdated
from messages.inventory_schemas import ChangedSubcloud, Subcloud
from messages.requests.base import unused_note
from messages.requests.subcloud import (
    ImportedSubcloud,
    ImportedSubcloudChange,
    NewSubcloud,
    SubcloudChange,
    SubcloudFields,
)
from messages.serializers import NO_ERRORS, subcloud_resource
from statemachine.eligibility import DEPLOYED
from statemachine.errors import SelectorError
from statemachine.releases import NOTHING_STAGED, is_outlived
from statemachine.selector import merge_labels
from statemachine.states import Availability, ManagementState

_NETWORK: Final = frozenset({"management_subnet", "management_gateway_ip", "management_start_ip", "management_end_ip"})


def add_subcloud(context: CommandContext, command: Command) -> Subcloud:
    """Register a site that is deployed already.

    It is `unmanaged` and `offline` until changed or probed otherwise, and its deploy status `complete`, unless given.

    Raises:
        CommandRefusedError: 400 with the contract's text for the first wrong field; 409 for a name that is taken.
    """
    values = read_new(command.data, default_version=context.rules.release or "")
    if command.data.get("release") is not None:
        require_supported_release(context, values["software_version"], context.rules.release)
    check_callers_access(values)
    values["version_by_administrator"] = bool(command.by_administrator)
    values["group_id"] = _group_id(context, command.data.get("group_id"), "Invalid group_id", default="1")
    if is_taken(context.connection, subclouds, values["name"]):
        raise conflict(f"Subcloud with name={values['name']} already exists")
    added = add(context.connection, subclouds, {**values, "created_at": context.at})
    return _with_note(subcloud_resource(added), unused_note(NewSubcloud, command.data))


def _with_note(subcloud: Subcloud, note: str | None) -> Subcloud:
    """Return an answer with the note of what is not used; an answer without one is as it was."""
    if note is None:
        return subcloud
    changed: ChangedSubcloud = {**subcloud, "info_message": note}
    return changed


def update_subcloud(context: CommandContext, command: Command) -> Subcloud:
    """Change a subcloud, or manage or unmanage it.

    Raises:
        CommandRefusedError: 404; 400 or 422 with the contract's text; nothing was changed.
    """
    subcloud = require_subcloud(context, command)
    values = read_changes(command.data)
    _refuse_network_of_managed(subcloud, values)
    check_callers_access(values, subcloud)
    if "labels" in values:
        values["labels"] = _changed_labels(subcloud["labels"], values["labels"])
    if values and subcloud["removed_variables"]:
        values["removed_variables"] = still_removed(subcloud, values)
    if is_moved(subcloud, values):
        # A caller who leads Prestager to another site's version must not explain a changed key by it.
        values["host_keys_version"] = None
    changed = _change(context, command, subcloud, values)
    return _with_note(changed, unused_note(SubcloudChange, command.data))


def update_imported_subcloud(context: CommandContext, command: Command) -> Subcloud:
    """Change a subcloud as the operator's file says, whose connection variables and addresses may be any.

    Raises:
        CommandRefusedError: As `update_subcloud`.
    """
    return _change(context, command, require_subcloud(context, command), read_imported_changes(command.data))


def _change(context: CommandContext, command: Command, subcloud: RowMapping, values: dict[str, Any]) -> Subcloud:
    if command.data.get("group_id") is not None:
        values["group_id"] = _group_id(context, command.data["group_id"], "Invalid group")
    force = values.pop("force", None)
    wanted = values.get("management_state")
    if force is not None and wanted != ManagementState.MANAGED:
        raise bad_request("Invalid option: force")
    if not values:
        raise bad_request("nothing to update")
    version = values.get("software_version")
    if version not in {None, subcloud["software_version"]} and is_outlived(subcloud, version):
        values |= NOTHING_STAGED
    if version not in {None, subcloud["software_version"]}:
        doubt(context.connection, [subcloud["id"]])
    if "software_version" in values:
        values["version_by_administrator"] = bool(command.by_administrator)
    if wanted is not None:
        _check_management(subcloud, values, force=bool(force))
    if "name" in values and is_taken(context.connection, subclouds, values["name"], but_id=subcloud["id"]):
        raise conflict(f"Subcloud with name={values['name']} already exists")
    row = change(context.connection, subclouds, subcloud["id"], {**values, "updated_at": context.at})
    if "name" in values:
        _rename_open_steps(context, row)
    given = sorted(
        {"connection" if name == "caller_connection" else name for name in values}
        - {"removed_variables", "version_by_administrator", "host_keys_version"}
    )
    context.work.emit("subcloud.updated", f"subcloud/{row['name']}", SubcloudUpdated(fields=given))
    note_address_change(context, subcloud, row, command.requested_by)
    return subcloud_resource(row, "message")


def _changed_labels(labels: Mapping[str, str], change: Mapping[str, str | None]) -> dict[str, str]:
    """Return labels after a change.

    Raises:
        CommandRefusedError: 400; there would be too many.
    """
    try:
        return merge_labels(labels, change)
    except SelectorError as error:
        raise bad_request(f"Invalid labels: {error}") from None


def _rename_open_steps(context: CommandContext, row: RowMapping) -> None:
    """Have the steps that are shown go by the subcloud's new name; history keeps the old one."""
    shown = select(strategies.c.id).where(strategy_is_active)
    context.connection.execute(
        update(steps)
        .where(steps.c.subcloud_id == row["id"], steps.c.finished_at.is_(None) | steps.c.strategy_id.in_(shown))
        .values(subcloud_name=row["name"])
    )


def delete_subcloud(context: CommandContext, command: Command) -> None:
    """Remove a subcloud, and its step from a strategy that was not applied.

    Raises:
        CommandRefusedError: 404; 400 for a managed one and for one that is being worked on; 422 for one that is online.
    """
    subcloud = require_subcloud(context, command)
    if subcloud["management_state"] == ManagementState.MANAGED:
        raise bad_request("Cannot delete a subcloud that is 'managed' status")
    if has_work(context.connection, subcloud["id"]):
        raise bad_request("Cannot delete a subcloud during an active operation.")
    if subcloud["availability_status"] == Availability.ONLINE:
        raise unprocessable("Subcloud must be powered down to perform this operation.")
    context.connection.execute(
        delete(steps).where(steps.c.subcloud_id == subcloud["id"], steps.c.finished_at.is_(None))
    )
    context.connection.execute(delete(subclouds).where(subclouds.c.id == subcloud["id"]))
    context.work.emit("subcloud.deleted", f"subcloud/{subcloud['name']}", EmptyData())


def _group_id(context: CommandContext, ref: Any, invalid: str, *, default: str | None = None) -> int:
    """Return the id of a group given by id or name; the client sends the name (contract 4.2)."""
    chosen = default if ref in (None, "") else str(ref)
    group = find_group(context.connection, chosen or "")
    if group is None:
        raise bad_request(invalid)
    return int(group["id"])


def _check_management(subcloud: RowMapping, values: dict[str, Any], *, force: bool) -> None:
    """Refuse to manage what is not ready; `force` looks at nothing but "already managed" (contract 4.2)."""
    name, wanted = subcloud["name"], values["management_state"]
    if subcloud["management_state"] == wanted:
        raise _bad_subcloud(f"Subcloud {name} already {wanted}")
    if wanted == ManagementState.UNMANAGED or force:
        return
    deploy_status = values.get("deploy_status", subcloud["deploy_status"])
    if deploy_status not in DEPLOYED | {"rehome-pending"}:
        raise _bad_subcloud(f"Unable to manage {name}: its deploy_status must be either 'complete' or 'rehome-pending'")
    if values.get("availability_status", subcloud["availability_status"]) != Availability.ONLINE:
        raise unprocessable("Subcloud is not online.")


def _refuse_network_of_managed(subcloud: RowMapping, values: dict[str, Any]) -> None:
    """Refuse a change of the management network unless the subcloud is, and stays, unmanaged."""
    if _NETWORK.isdisjoint(values):
        return
    if "management_state" in values:
        raise unprocessable("Management state and network reconfiguration must be updated separately")
    if subcloud["management_state"] != ManagementState.UNMANAGED:
        raise unprocessable("A subcloud must be unmanaged to perform network reconfiguration")


def _bad_subcloud(reason: str) -> CommandRefusedError:
    return unprocessable(f"Bad subcloud request: {reason}")


def read_new(data: Mapping[str, Any], *, default_version: str) -> dict[str, Any]:
    """Return the columns of a new subcloud, without its group and times.

    Raises:
        CommandRefusedError: 400 naming the first wrong field.
    """
    return _new(_called(_given(read_body(NewSubcloud, data))), default_version)


def read_new_imported(data: Mapping[str, Any], *, default_version: str) -> dict[str, Any]:
    """Return the columns of a new subcloud of the operator's file, without its group and times.

    Raises:
        CommandRefusedError: 400 naming the first wrong field.
    """
    return _new(_imported(_given(read_request(ImportedSubcloud, data))), default_version)


def read_imported_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that the operator's file changes; unknown keys are ignored.

    Raises:
        CommandRefusedError: 400 naming the first wrong field.
    """
    return _imported(_given(read_request(ImportedSubcloudChange, data)))


def _called(given: dict[str, Any]) -> dict[str, Any]:
    """Return the same with the connection variables as a caller's."""
    if "connection" in given:
        given["caller_connection"] = given.pop("connection")
    return given


def _imported(given: dict[str, Any]) -> dict[str, Any]:
    """Return the same with the connection variables as the operator's own."""
    if "labels" in given:
        # Those of the file are all.
        given["labels"] = _changed_labels({}, given["labels"])
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
        "labels": _changed_labels({}, given.get("labels", {})),
    }
    if not values["software_version"]:
        raise bad_request("software_version required: the system controller's own release is not configured")
    return values


def read_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that `data` changes, and `force` where it is given.

    Raises:
        CommandRefusedError: 400 naming the first wrong field.
    """
    return _called(_given(read_body(SubcloudChange, data)))


def _given(request: SubcloudFields) -> dict[str, Any]:
    """Return the given fields without the group, which is looked up in the database."""
    given = request.model_dump(exclude_none=True, exclude={"group"})
    if request.labels is not None:
        # With those that are None, which removes a label.
        given["labels"] = request.labels
    # The address that the client gives stands in where no OAM address is given.
    address = given.pop("bootstrap_address", None)
    return given if address is None else {"oam_floating_ip": address, **given}
