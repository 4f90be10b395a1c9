"""Access to a site: changes that callers may make of it, and the events and audit entries of a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping

from actors.coordinator.context import CommandContext
from actors.coordinator.errors import bad_request
from messages.connection_variables import is_host_from_caller, is_reached_by_ssh, site_variables
from messages.event_types import SubcloudAddressChanged
from messages.site_addresses import REFUSED, is_reserved_host_name, is_site_address, rename_text
from runner.machine_addresses import is_elsewhere

_COLUMNS: Final = ("oam_floating_ip", "management_start_ip")
# Each with its other name, which Ansible prefers.
_VARIABLES: Final = {"ansible_host": "ansible_ssh_host", "ansible_port": "ansible_ssh_port"}

_HOSTS: Final = ("ansible_host", "ansible_ssh_host")


def check_callers_access(values: Mapping[str, Any], subcloud: Mapping[Any, Any] | None = None) -> None:
    """Do nothing when a caller may give a site these addresses and connection variables.

    Args:
        values: The columns that a caller sets, each in its right form.

        subcloud: The row that they change; None for a new one.

    Raises:
        CommandRefusedError: 400; an address is one of this machine, or the operator's import decides how the site is
            reached.
    """
    connection = values.get("caller_connection", {})
    given = {name: values[name] for name in _COLUMNS if values.get(name) is not None}
    if "ansible_host" in connection:
        given["ansible_host"] = connection["ansible_host"]
    for name, address in given.items():
        if not is_elsewhere(address):
            raise bad_request(f"Invalid {name}: {REFUSED}")
    if subcloud is None or is_reached_by_ssh(subcloud["connection"]):
        return
    moves = values.get("oam_floating_ip", subcloud["oam_floating_ip"]) != subcloud["oam_floating_ip"]
    if connection or moves:
        raise bad_request(
            f"Invalid {'connection' if connection else 'oam_floating_ip'}: the operator's import of"
            f" {subcloud['name']} sets another connection than ssh; only prestager subcloud import --update changes it"
        )


def access_error(subcloud: Mapping[Any, Any]) -> str | None:
    """Return why no run may be started for a subcloud; None when nothing speaks against it.

    Each is what an earlier release let in: a name that Ansible keeps for itself, variables of unknown origin that the
    upgrade took out. Without those a site might be reached elsewhere, by another way or as another user.
    """
    name, removed = subcloud["name"], subcloud["removed_variables"]
    if is_reserved_host_name(name):
        return rename_text(name)
    if removed:
        return (
            f"How {name} is reached is not known any more: the upgrade took out {', '.join(removed)}, whose origin was"
            " not known. Import it again (prestager subcloud import --update), or set its connection anew."
        )
    return None


def still_removed(subcloud: Mapping[Any, Any], values: Mapping[str, Any]) -> list[str]:
    """Return what an upgrade took out of a subcloud and a caller's new columns do not replace."""
    is_connection_new = "caller_connection" in values
    return [
        name
        for name in subcloud["removed_variables"]
        if name not in values and not (is_connection_new and name not in _COLUMNS)
    ]


def is_address_given(subcloud: Mapping[Any, Any]) -> bool:
    """Return whether connection variables say where a site is, or that it is not reached over the network."""
    variables = site_variables(subcloud)
    return variables.get("ansible_connection") == "local" or not variables.keys().isdisjoint(_HOSTS)


def is_address_checked(subcloud: Mapping[Any, Any], oam_address: str | None) -> bool:
    """Return whether the address of a site is checked by the machine that its playbook runs on, when that begins.

    It is not where the operator's variables name the host. An OAM address may come from a caller, or from the site;
    those who took it in may be another machine. One that neither can have given, such as 127.0.0.1, is the operator's.
    """
    if is_address_given(subcloud):
        return is_host_from_caller(subcloud)
    return oam_address is not None and is_site_address(oam_address)


def is_moved(subcloud: Mapping[Any, Any], values: Mapping[str, Any]) -> bool:
    """Return whether a caller's new columns have a site, or its version, looked for elsewhere; `subcloud` is its row.

    Another name counts too: the operator's file of URLs finds sites by their names.
    """
    after = {**subcloud, **values}
    return after["name"] != subcloud["name"] or _addresses(after) != _addresses(subcloud)


def note_address_change(context: CommandContext, before: Mapping[Any, Any], after: RowMapping, caller: str) -> None:
    """Tell an event and note for the audit when a site is reached elsewhere than before.

    Args:
        context: The transaction that changed it.

        before: Its row before the change.

        after: Its row now.

        caller: Who asked for the change.
    """
    old, new = _addresses(before), _addresses(after)
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not changed:
        return
    data = SubcloudAddressChanged(
        caller=caller,
        before={name: old.get(name) for name in changed},
        after={name: new.get(name) for name in changed},
    )
    context.work.emit("subcloud.address-changed", f"subcloud/{after['name']}", data)
    changes = (f"{name} from {old.get(name) or 'none'} to {new.get(name) or 'none'}" for name in changed)
    context.notes.append(f"address changed: {', '.join(changes)}")


def _addresses(row: Mapping[Any, Any]) -> dict[str, str | None]:
    variables = site_variables(row)
    found = {name: row[name] for name in _COLUMNS}
    found |= {name: variables.get(alias, variables.get(name)) for name, alias in _VARIABLES.items()}
    return {name: None if value is None else str(value) for name, value in found.items()}
