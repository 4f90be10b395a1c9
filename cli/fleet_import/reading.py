"""Turns the variables of hosts into fields of subclouds and groups. Pure: no file, no database.

Variables that begin with `prestager_` say what Prestager has to know; all others are how Ansible reaches the site.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cli.configuration import did_you_mean
from cli.fleet_import.ansible_inventory import Hosts
from messages.connection_variables import is_set_by_prestager
from messages.host_keys import HostKey, HostKeyError, parse_host_keys
from messages.secret_names import is_secret_name

DEFAULT_GROUP: Final = "Default"
_OURS: Final = "prestager_"
_GROUP: Final = "prestager_group"
_VERSION: Final = "prestager_software_version"
_TWO_DECIMALS: Final = re.compile(r"[0-9]+\.[0-9]{2}")
# Our variables and the fields that `actors.subcloud_fields` reads.
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
}
# Variables of a group, which its hosts inherit, and the fields that `actors.group_commands` reads.
_GROUP_FIELDS: Final = {
    "prestager_group_apply_type": "update_apply_type",
    "prestager_group_max_parallel": "max_parallel_subclouds",
    "prestager_group_description": "description",
}
_HOST_KEY: Final = "prestager_host_key"
_KNOWN: Final = frozenset({_GROUP, _HOST_KEY, *_FIELDS, *_GROUP_FIELDS})
# Ansible shows an encrypted value as a mapping with this key.
_VAULT: Final = "__ansible_vault"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A fleet as a file describes it."""

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


def read_fleet(hosts: Hosts) -> Wanted:
    """Return what the file wants. The form of the values is judged later, where the API's are."""
    wanted = Wanted()
    secrets: Counter[str] = Counter()
    templates: Counter[str] = Counter()
    own: Counter[str] = Counter()
    for name, variables in hosts.items():
        group = str(variables.get(_GROUP, DEFAULT_GROUP))
        wanted.group_of[name] = group
        _read_group(wanted, group, variables)
        wanted.faults.extend(_unknown(name, variables))
        wanted.faults.extend(_rounded_version(name, variables))
        _read_host_keys(wanted, name, variables)
        wanted.sites[name] = {
            "name": name,
            **{target: variables[source] for source, target in _FIELDS.items() if source in variables},
            "connection": _connection(variables, secrets, templates, own),
        }
    wanted.warnings.extend(
        f"{variable} looks like a secret and is not kept ({_hosts(count)}); passwords come with each prestage command."
        for variable, count in sorted(secrets.items())
    )
    wanted.warnings.extend(
        f"{variable} holds a template, which is kept as it is and never evaluated ({_hosts(count)})."
        for variable, count in sorted(templates.items())
    )
    wanted.warnings.extend(
        f"{variable} is set by Prestager in each run and is not kept ({_hosts(count)})."
        for variable, count in sorted(own.items())
    )
    return wanted


def _read_host_keys(wanted: Wanted, name: str, variables: Mapping[str, Any]) -> None:
    given = variables.get(_HOST_KEY)
    if given is None:
        return
    text = "\n".join(map(str, given)) if isinstance(given, list) else str(given)
    try:
        wanted.host_keys[name] = parse_host_keys(text)
    except HostKeyError as error:
        wanted.faults.append(f"{name}: {_HOST_KEY}: {error}.")


def _read_group(wanted: Wanted, group: str, variables: Mapping[str, Any]) -> None:
    fields = wanted.groups.setdefault(group, {})
    for source, target in _GROUP_FIELDS.items():
        if source not in variables:
            continue
        if fields.setdefault(target, variables[source]) != variables[source]:
            fault = f"group {group}: its hosts do not agree on {source}."
            if fault not in wanted.faults:
                wanted.faults.append(fault)


# Ansible reads a value of an INI host line once more after its quotes are gone.
_QUOTED: Final = "write it in quotes, on an INI host line as '\"22.10\"'."


def _unknown(name: str, variables: Mapping[str, Any]) -> Iterator[str]:
    for variable in variables:
        if variable.startswith(_OURS) and variable not in _KNOWN:
            yield f"{name}: {variable} is not known{did_you_mean(variable, _KNOWN)}"


def _rounded_version(name: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Complain about a version that was read as a number: 22.10 without quotes has become 22.1."""
    version = variables.get(_VERSION)
    if isinstance(version, float) and not _TWO_DECIMALS.fullmatch(str(version)):
        yield f"{name}: {_VERSION} is a number, whose last zeros are lost; {_QUOTED}"


def _connection(
    variables: Mapping[str, Any], secrets: Counter[str], templates: Counter[str], own: Counter[str]
) -> dict[str, Any]:
    """Return the variables that are not ours, without secrets; what is left out or odd is counted by name."""
    kept = {}
    for name, value in variables.items():
        if name.startswith(_OURS):
            continue
        secret = _secret_in(name, value)
        if secret is not None:
            secrets[secret] += 1
            continue
        if is_set_by_prestager(name):
            own[name] += 1
            continue
        if "{{" in str(value):
            templates[name] += 1
        kept[name] = value
    return kept


def _secret_in(name: str, value: Any) -> str | None:
    """Return the dotted name of the first secret in a variable, itself or within; None without one."""
    if is_secret_name(name) or (isinstance(value, dict) and _VAULT in value):
        return name
    for key, item in _inner(value):
        found = _secret_in(str(key), item)
        if found is not None:
            return f"{name}.{found}"
    return None


def _inner(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"
