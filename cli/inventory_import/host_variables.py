"""Check the values of a host's variables, and pick the connection variables that are kept for its runs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from messages.connection_variables import is_set_by_prestager, is_used_by_runs
from messages.limits import TEXT_LENGTH, check_json
from messages.requests.base import truncate_for_error
from messages.secret_names import is_secret_name

# As long as the name of a subcloud may be.
_BYTE_ORDER_MARK: Final = "\ufeff"
# Variables that begin so say what Prestager has to know, and are no connection variables.
PREFIX: Final = "prestager_"
# Ansible shows an encrypted value as a mapping with this key.
_VAULT: Final = "__ansible_vault"
# Inventories may have hundreds of variables that no run uses.
_MOST_NAMES: Final = 20


def present(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that have a value: a YAML null is as if the variable were not there."""
    return {name: value for name, value in variables.items() if value is not None}


def unusable_variables(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that can neither be kept nor used in a run, and why; no value is repeated."""
    faults = {name: _fault({name: value}) for name, value in variables.items()}
    return {name: fault for name, fault in faults.items() if fault is not None}


def _fault(variable: dict[str, Any]) -> str | None:
    try:
        check_json(variable)
    except ValueError as error:
        return str(error)
    if _holds_byte_order_mark(variable):
        return "it holds a byte order mark, which cannot be seen; type it anew"
    return None


def readable(name: str) -> str:
    """Return the name of a host, group or variable as a sentence may hold it: what cannot be seen is escaped."""
    return name if name.isprintable() and len(name) <= TEXT_LENGTH else truncate_for_error(ascii(name))


def _holds_byte_order_mark(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_byte_order_mark, (*value, *value.values())))
    if isinstance(value, list):
        return any(map(_holds_byte_order_mark, value))
    return isinstance(value, str) and _BYTE_ORDER_MARK in value


@dataclass(frozen=True, kw_only=True)
class Omissions:
    """Names of variables that are left out or odd, with the number of hosts that have them; never a value."""

    secrets: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    own: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)

    def sentences(self) -> Iterator[str]:
        """Yield notes on them for the operator."""
        for name, count in sorted(self.secrets.items()):
            yield (
                f"{name} looks like a secret and is not kept ({_hosts(count)}); passwords come with each prestage"
                " command."
            )
        for name, count in sorted(self.templates.items()):
            yield f"{name} holds a template, which is kept as it is and never evaluated ({_hosts(count)})."
        for name, count in sorted(self.own.items()):
            yield f"{name} is set by Prestager in each run and is not kept ({_hosts(count)})."
        if self.unused:
            shown = [f"{name} ({_hosts(count)})" for name, count in sorted(self.unused.items())[:_MOST_NAMES]]
            more = len(self.unused) - len(shown)
            yield (
                f"Not kept, for neither Ansible nor Prestager's playbooks use them: {', '.join(shown)}"
                f"{f' and {more} more' if more else ''}. Give --keep NAME for each that playbooks of your own use."
            )


@dataclass(frozen=True, kw_only=True)
class KeepRule:
    """The rule by which connection variables are kept."""

    # Names, or patterns with `*`, of variables that are kept beside those that runs use; None keeps all.
    also: Collection[str] | None

    def keeps(self, name: str) -> bool:
        """Return whether a variable of this name is kept, if it is no secret."""
        if self.also is None or is_used_by_runs(name):
            return True
        return any(fnmatchcase(name, pattern) for pattern in self.also)


def connection_variables(variables: Mapping[str, Any], rule: KeepRule, omitted: Omissions) -> dict[str, Any]:
    """Return the variables that are kept for the runs of a host, and count in `omitted` what is left out or odd.

    Args:
        variables: All that the host has; their values can be kept.

        rule: What is kept.

        omitted: What was counted so far.
    """
    kept = {}
    for name, value in variables.items():
        if name.startswith(PREFIX):
            continue
        secret = _secret_in(name, value)
        if secret is not None:
            omitted.secrets[secret] += 1
        elif is_set_by_prestager(name):
            omitted.own[name] += 1
        elif not rule.keeps(name):
            omitted.unused[readable(name)] += 1
        else:
            if "{{" in str(value):
                omitted.templates[name] += 1
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
