"""Ansible connection variables of a site: those that callers may set, and how they join the operator's.

The operator's own come by `prestager subcloud import` and may be any. Callers of the API and publishers of commands may
set the ones below, each in one form: others run commands on the controller. Both are kept apart; where both name the
same thing, the operator's win.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from messages.errors import ConnectionVariableError
from messages.site_addresses import HOST_PATTERN, REFUSED, is_site_address

_PORTS: Final = (1, 65_535)
_MOST_BYTES: Final = 2**63 - 1
_PATH: Final = r"/[A-Za-z0-9_./~-]{0,1023}"
_USER: Final = r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"
_DIGITS: Final = r"[0-9]{1,19}"


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """The form of one variable."""

    # Returns the value as it is kept.
    read: Callable[[Any], Any]
    # What is expected, for people.
    expected: str
    schema: Mapping[str, Any]
    # Whether only the playbooks of Prestager know the variable.
    is_for_own_playbooks: bool = False


def _text(pattern: str) -> Callable[[Any], str]:
    form = re.compile(pattern)

    def read(value: Any) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError
        return value

    return read


def _number(least: int, most: int) -> Callable[[Any], int]:
    digits = _text(_DIGITS)

    def read(value: Any) -> int:
        number = value if isinstance(value, int) and not isinstance(value, bool) else int(digits(value))
        if not least <= number <= most:
            raise ValueError
        return number

    return read


def _address(value: Any) -> str:
    if not isinstance(value, str) or not is_site_address(value):
        raise ValueError
    return value


def _number_rule(least: int, most: int, expected: str, *, is_for_own_playbooks: bool = False) -> _Rule:
    forms = [{"type": "integer", "minimum": least, "maximum": most}, {"type": "string", "pattern": f"^{_DIGITS}$"}]
    return _Rule(
        read=_number(least, most),
        expected=expected,
        schema={"anyOf": forms},
        is_for_own_playbooks=is_for_own_playbooks,
    )


def _path_rule(*, is_for_own_playbooks: bool = False) -> _Rule:
    return _Rule(
        read=_text(_PATH),
        expected="an absolute path of letters, digits and _ . / ~ -",
        schema={"type": "string", "pattern": f"^{_PATH}$"},
        is_for_own_playbooks=is_for_own_playbooks,
    )


_BYTES: Final = _number_rule(0, _MOST_BYTES, "a number of bytes", is_for_own_playbooks=True)
_RULES: Final[Mapping[str, _Rule]] = {
    "ansible_host": _Rule(
        read=_address,
        expected=f"an IP address or a host name; {REFUSED}",
        schema={
            "type": "string",
            "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"pattern": f"^{HOST_PATTERN}$"}],
        },
    ),
    "ansible_port": _number_rule(*_PORTS, "a number from 1 to 65535"),
    "ansible_user": _Rule(
        read=_text(_USER),
        expected="a login of at most 32 letters, digits and _ . -, with a letter or _ first",
        schema={"type": "string", "pattern": f"^{_USER}$"},
    ),
    "ansible_python_interpreter": _path_rule(),
    "ansible_remote_tmp": _path_rule(),
    "prestage_min_free_bytes": _BYTES,
    "prestage_image_quota_bytes": _BYTES,
    "site_version_file": _path_rule(is_for_own_playbooks=True),
    "site_feed_dir": _path_rule(is_for_own_playbooks=True),
    "site_image_list_file": _path_rule(is_for_own_playbooks=True),
}
# Names of one thing: Ansible takes the first that it finds, so one of the operator's rules out all of a caller's.
_ALIASES: Final = (
    frozenset({"ansible_host", "ansible_ssh_host"}),
    frozenset({"ansible_port", "ansible_ssh_port"}),
    frozenset({"ansible_user", "ansible_ssh_user"}),
)
# Connections that are ssh; without the variable Ansible takes it.
_SSH: Final = frozenset({"ssh", "smart", "ansible.builtin.ssh", "ansible.legacy.ssh"})
# Paths on the site, to a program that is run and a directory that is written.
_PLACES_ON_THE_SITE: Final = frozenset({"ansible_python_interpreter", "ansible_remote_tmp"})
_HOST: Final = "ansible_host"
_CONNECTION: Final = "ansible_connection"
# Extra variables of each run, which win over those of a site.
_OWN: Final = frozenset(
    {
        "controller_feed_root",
        "prestage_shared_root",
        "prestage_archive_dir",
        "subcloud_software_version",
        "software_version",
        "current_software_version",
        "previous_software_version",
        "prestage_reason",
        "image_list_file",
    }
)
# First letters of the names that Ansible and our playbooks use of a site's own variables, and names without them.
_USED_PREFIXES: Final = ("ansible_", "prestage_", "site_")
_USED: Final = frozenset({"platform_backup_dir"})


def read_callers_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a caller in the form in which they are kept.

    Raises:
        ConnectionVariableError: The first variable that callers may not set, or that has a wrong form.
    """
    return {name: read_callers_variable(name, value) for name, value in variables.items()}


def read_callers_variable(name: str, value: Any) -> Any:
    """Return the value of one variable of a caller in the form in which it is kept.

    Raises:
        ConnectionVariableError: Callers may not set the variable, or its value has a wrong form.
    """
    rule = _RULES.get(name)
    if rule is None:
        reason = f"can only come by prestager subcloud import; what may be set here is {', '.join(_RULES)}"
        raise ConnectionVariableError(name, reason)
    try:
        return rule.read(value)
    except ValueError:
        raise ConnectionVariableError(name, f"must be {rule.expected}") from None


def callers_schema() -> dict[str, Any]:
    """Return the JSON Schema of the variables that callers may set."""
    return {
        "type": "object",
        "properties": {name: dict(rule.schema) for name, rule in _RULES.items()},
        "additionalProperties": False,
    }


def is_reached_by_ssh(imported: Mapping[str, Any]) -> bool:
    """Return whether the operator's variables leave a site to ssh, so that callers may say how it is reached."""
    # A variable without a value is as if it were not there, to Ansible too.
    connection = imported.get(_CONNECTION)
    return connection is None or str(connection) in _SSH


def is_set_by_prestager(name: str) -> bool:
    """Return whether Prestager itself sets the variable in each run, so that a site's own would have no effect."""
    return name in _OWN


def is_used_by_runs(name: str) -> bool:
    """Return whether Ansible or our own playbooks may use a variable of this name that a site has."""
    return name.startswith(_USED_PREFIXES) or name in _USED


def site_variables(
    subcloud: Mapping[Any, Any], *, own_playbooks: bool = True, on_controller: bool = False
) -> dict[str, Any]:
    """Return the connection variables of a site: those of callers, and the operator's, which win.

    Args:
        subcloud: Its row, with the columns `connection` of the operator and `caller_connection` of callers.

        own_playbooks: Whether Prestager's own playbooks run; others get nothing that only those know from callers.

        on_controller: Whether the playbook works on the controller for the site. With `connection: local` a program
            that a caller names would be run there.
    """
    imported = subcloud["connection"]
    if not is_reached_by_ssh(imported):
        return dict(imported)
    decided = frozenset[str]().union(*(names for names in _ALIASES if not names.isdisjoint(imported)))
    callers = {
        name: value
        for name, value in subcloud.get("caller_connection", {}).items()
        if name not in decided
        and (own_playbooks or name not in _FOR_OWN_PLAYBOOKS)
        and not (on_controller and name in _PLACES_ON_THE_SITE)
    }
    return {**callers, **imported}


def is_host_from_caller(subcloud: Mapping[Any, Any]) -> bool:
    """Return whether a caller named the host that a site is reached at; `subcloud` is its row."""
    return _HOST in site_variables(subcloud) and _HOST not in subcloud["connection"]


_FOR_OWN_PLAYBOOKS: Final = frozenset(name for name, rule in _RULES.items() if rule.is_for_own_playbooks)
