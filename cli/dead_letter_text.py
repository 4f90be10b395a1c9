"""Printable parts of a dead letter: others wrote it, and it may hold a secret. Pure."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from messages.secret_names import mask_fields, mask_values

_MASK: Final = "********"
_LONGEST: Final = 16_384
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def printable(text: str) -> str:
    """Return one line without characters that a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def shown_body(body: bytes) -> str:
    """Return a body for reading: JSON is indented, values that may be secret are hidden, and much is cut."""
    text = body.decode("utf-8", errors="replace")
    try:
        shown = json.dumps(mask_values(json.loads(text), _MASK), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        shown = mask_fields(text, _MASK)
    lines = "\n".join(map(printable, shown.splitlines()))
    if len(lines) > _LONGEST:
        return f"{lines[:_LONGEST]}\n… and {len(lines) - _LONGEST} characters more"
    return lines


def age_text(since: datetime | None, now: datetime) -> str:
    """Return an age in its greatest unit, such as 3 h."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    name, unit = next(((name, unit) for name, unit in _UNITS if seconds >= unit), _UNITS[-1])
    return f"{seconds // unit} {name}"
