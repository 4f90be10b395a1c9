"""Limits of texts and values that come from outside: by HTTP, by AMQP, or from the output of a playbook."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

# Longest name, subject, id of a command, and other short text of a request, in characters.
TEXT_LENGTH: Final = 255
# The longest run of digits that surely fits the database's integers, which have 64 bits.
ID_DIGITS: Final = 18
LARGEST_ID: Final = 10**ID_DIGITS - 1
# The id of a problem, or enough of its beginning to mean one.
PROBLEM_FORM: Final = "^[0-9a-f]{4,12}$"
# Deeper values cannot be sent on: the encoder of commands gives up at 255.
_DEPTH: Final = 32


def is_number(text: str) -> bool:
    """Return whether a text is all ASCII digits: as a reference it is an id, of any length, and no name."""
    return text.isascii() and text.isdigit()


def is_id(text: str) -> bool:
    """Return whether a text is digits that fit an id of the database; others name no row."""
    return is_number(text) and len(text) <= ID_DIGITS


def is_storable(text: str) -> bool:
    """Tell whether a text can be encoded and kept: no half of a character pair, no NUL (PostgreSQL has none)."""
    return _text_problem(text) is None


def check_json(value: Any) -> None:
    """Do nothing for a value that can be stored and sent on.

    Raises:
        ValueError: It is nested too deeply, or holds what JSON or the database cannot; the text says which, and
            repeats nothing of it.
    """
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if not isinstance(item, dict | list):
            _check_scalar(item)
            continue
        if depth > _DEPTH:
            raise ValueError(f"nested too deeply: more than {_DEPTH} levels")
        inner = [*item, *item.values()] if isinstance(item, dict) else item
        pending.extend((part, depth + 1) for part in inner)


def _check_scalar(item: object) -> None:
    if isinstance(item, str):
        problem = _text_problem(item)
    elif isinstance(item, float):
        problem = None if isfinite(item) else "a number that is not finite"
    else:
        problem = None if item is None or isinstance(item, int) else "what JSON does not have"
    if problem is not None:
        raise ValueError(f"a value cannot be stored: {problem}")


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "a text with a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a text with half of a character pair"
    return None


def left_out_note(size_bytes: int) -> str:
    """Return the line that stands for `size_bytes` bytes of output that are not there."""
    return f"\n[... {size_bytes} bytes of output left out here ...]\n"


# Among the facts of a run: what its playbook says is on the site now, in upstream's words.
PRESTAGE_VERSIONS: Final = "prestage_versions"
