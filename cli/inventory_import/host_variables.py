"""Judges the values of a host's variables before anything is made of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from messages.limits import TEXT_LENGTH, check_json
from messages.requests.base import truncate_for_error

# As long as the name of a subcloud may be.
_BYTE_ORDER_MARK: Final = "\ufeff"


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
