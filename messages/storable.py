"""Texts and values that can be stored and sent on: nothing else is taken in, by HTTP or by AMQP."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

# Deeper values cannot be sent on: the encoder of commands gives up at 255.
_DEPTH: Final = 32


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
