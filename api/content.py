"""Texts and values that a body may hold: what cannot be stored or sent on is not read at all."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

# Deeper values cannot be sent on: the encoder of commands gives up at 255.
_DEPTH: Final = 32
# What a name, a group or a subcloud, may have at most.
NAME_LENGTH: Final = 255

# Ends of keys whose values are secrets; compared without case, dashes as underscores.
_SECRET_ENDS: Final = ("password", "passphrase", "_pass", "_passwd", "private_key", "secret", "_token")
# Anywhere in the name of a connection variable: names there are many, and such a variable is kept and shown.
_SECRET_WORDS: Final = ("pass", "secret", "token", "private_key")


def is_storable(text: str) -> bool:
    """Tell whether a text can be encoded and kept: no half of a character pair, no NUL (PostgreSQL has none)."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check(value: Any) -> None:
    """Do nothing for a value that can be stored and sent on.

    Raises:
        ValueError: It is nested too deeply, or holds what JSON or the database cannot.
    """
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if not isinstance(item, dict | list):
            _check_scalar(item)
            continue
        if depth > _DEPTH:
            raise ValueError("nested too deeply")
        inner = [*item, *item.values()] if isinstance(item, dict) else item
        pending.extend((part, depth + 1) for part in inner)


def _check_scalar(item: object) -> None:
    if isinstance(item, float):
        good = isfinite(item)
    elif isinstance(item, str):
        good = is_storable(item)
    else:
        good = item is None or isinstance(item, int)
    if not good:
        raise ValueError("a value cannot be stored")


def is_secret(key: str) -> bool:
    """Tell by its name whether a key holds a secret."""
    return key.lower().replace("-", "_").endswith(_SECRET_ENDS)


def hints_at_secret(name: str) -> bool:
    """Tell by its name whether a connection variable may hold a secret."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that may leave the API: no caller's secret goes into a message."""
    return {key: value for key, value in fields.items() if not is_secret(key)}
