"""Turns the variables of hosts into fields of subclouds and groups. Pure: no file, no database.

Variables that begin with `prestager_` say what Prestager has to know; all others are how Ansible reaches the site.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cli.inventory_import.host_variables import (
    PREFIX,
    KeepRule,
    Omissions,
    connection_variables,
    present,
    readable,
    unusable_variables,
)
from cli.inventory_import.inventory_file import Hosts
from messages.errors import HostKeyError
from messages.host_keys import HostKey, parse_host_keys
from messages.secret_names import is_secret_name
from service.load_settings import did_you_mean

DEFAULT_GROUP: Final = "Default"
_GROUP: Final = "prestager_group"
_VERSION: Final = "prestager_software_version"
_TWO_DECIMALS: Final = re.compile(r"[0-9]+\.[0-9]{2}")
# Our variables and the fields that `actors.coordinator.subclouds` reads.
_FIELDS: Final = {
    _VERSION: "software_version",
    "prestager_management_state": "management-state",
    "prestager_availability_status": "availability-status",
    "prestager_deploy_status": "deploy-status",
    "prestager_system_mode": "system_mode",
    "prestager_oam_address": "oam_floating_ip",
    "prestager_management_alarms": "management-alarms",
    "prestager_description": "description",
    "prestager_location": "location",
    "prestager_labels": "labels",
}
# Variables of a group, which its hosts inherit, and the fields that `actors.coordinator.groups` reads.
_GROUP_FIELDS: Final = {
    "prestager_group_apply_type": "update_apply_type",
    "prestager_group_max_parallel": "max_parallel_subclouds",
    "prestager_group_description": "description",
}
_HOST_KEY: Final = "prestager_host_key"
_KNOWN: Final = frozenset({_GROUP, _HOST_KEY, *_FIELDS, *_GROUP_FIELDS})


@dataclass(frozen=True, kw_only=True)
class InventoryContent:
    """Sites and groups as an inventory describes them."""

    # Name of a subcloud → its fields as the API takes them, `name` included.
    sites: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Name of a subcloud → name of its group.
    group_of: dict[str, str] = field(default_factory=dict)
    # Name of a group → its fields as the API takes them; none: whatever it has.
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Name of a subcloud → the SSH host keys that it must present; sites without are not in it.
    host_keys: dict[str, tuple[HostKey, ...]] = field(default_factory=dict)
    # What is wrong with the file, one sentence each.
    faults: list[str] = field(default_factory=list)
    # What is left out of it, one sentence each; never a value.
    warnings: list[str] = field(default_factory=list)


def read_fleet(hosts: Hosts, keep: Collection[str] | None = None) -> InventoryContent:
    """Return the content of an inventory. The form of the values is checked later, where the API's are.

    Args:
        hosts: Their variables; one that is None is as if it were not there.

        keep: Names of connection variables that are kept beside those that Ansible and our playbooks use; None keeps
            all.
    """
    content = InventoryContent()
    rule = KeepRule(also=keep)
    omitted = Omissions()
    for host, given in hosts.items():
        variables = present(given)
        unusable = unusable_variables(variables)
        content.faults.extend(
            f"{readable(host)}: {readable(name)}: {fault}."
            for name, fault in unusable.items()
            if name.startswith(PREFIX) or (rule.keeps(name) and not is_secret_name(name))
        )
        usable = {name: value for name, value in variables.items() if name not in unusable}
        _read_host(content, host, usable)
        content.sites[host]["connection"] = connection_variables(usable, rule, omitted)
    content.warnings.extend(omitted.sentences())
    return content


def _read_host(content: InventoryContent, host: str, variables: Mapping[str, Any]) -> None:
    content.faults.extend(_unknown(host, variables))
    content.faults.extend(_rounded_version(host, variables))
    _read_group(content, host, variables)
    _read_host_keys(content, host, variables)
    content.sites[host] = {
        "name": host,
        **{target: variables[source] for source, target in _FIELDS.items() if source in variables},
    }


def _read_host_keys(content: InventoryContent, name: str, variables: Mapping[str, Any]) -> None:
    given = variables.get(_HOST_KEY)
    if given is None:
        return
    text = "\n".join(map(str, given)) if isinstance(given, list) else str(given)
    try:
        content.host_keys[name] = parse_host_keys(text)
    except HostKeyError as error:
        content.faults.append(f"{name}: {_HOST_KEY}: {error}.")


def _read_group(content: InventoryContent, host: str, variables: Mapping[str, Any]) -> None:
    given = variables.get(_GROUP, DEFAULT_GROUP)
    if not isinstance(given, str | int) or isinstance(given, bool):
        content.faults.append(f"{readable(host)}: {_GROUP} is no text; write the name of one group in quotes.")
        given = DEFAULT_GROUP
    group = content.group_of[host] = str(given)
    fields = content.groups.setdefault(group, {})
    for source, target in _GROUP_FIELDS.items():
        if source not in variables:
            continue
        if fields.setdefault(target, variables[source]) != variables[source]:
            fault = f"group {group}: its hosts do not agree on {source}."
            if fault not in content.faults:
                content.faults.append(fault)


# Ansible reads a value of an INI host line once more after its quotes are gone.
_QUOTED: Final = "write it in quotes, on an INI host line as '\"22.10\"'."


def _unknown(name: str, variables: Mapping[str, Any]) -> Iterator[str]:
    for variable in variables:
        if variable.startswith(PREFIX) and variable not in _KNOWN:
            yield f"{name}: {variable} is not known{did_you_mean(variable, _KNOWN)}"


def _rounded_version(name: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Complain about a version that was read as a number: 22.10 without quotes has become 22.1."""
    version = variables.get(_VERSION)
    if isinstance(version, float) and not _TWO_DECIMALS.fullmatch(str(version)):
        yield f"{name}: {_VERSION} is a number, whose last zeros are lost; {_QUOTED}"
