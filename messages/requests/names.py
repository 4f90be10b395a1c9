"""Names of fields and parameters: which a model takes, which it only knows, and the words for one that it does not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from messages.errors import RequestError
from messages.requests.base import Request, shown, taken_names

# How alike the nearest name has to be, from 0 to 1: one letter too many or too few in a short name still is.
_LIKENESS: Final = 0.6
# Longer names are nobody's slip of the finger, in characters; comparing takes the square of it.
_COMPARED: Final = 64
# Names of which no two look alike, and that end where they seem to.
_PLAIN: Final = re.compile(r"[!-~]+")


def refuse_unknown(model: type[Request], names: Iterable[str], *, noun: str = "field") -> None:
    """Do nothing where `model` takes or at least knows every name.

    Args:
        model: Its `unused_names` are known though not taken; with None every name is.

        names: As they were sent.

        noun: What each of them is the name of.

    Raises:
        RequestError: Names the first, in the order of the alphabet, that is not known, and the nearest that is: one
            that is taken, if any is near.
    """
    if model.unused_names is None:
        return
    taken = taken_names(model)
    unknown = sorted(set(names) - taken - model.unused_names)
    if unknown:
        raise RequestError(unknown_text(unknown[0], taken, noun, model.unused_names))


def unknown_text(name: str, taken: Iterable[str], noun: str = "field", unused: Iterable[str] = ()) -> str:
    """Return the words for a name that is not known: with the nearest that is taken, else the nearest unused one."""
    nearest = _nearest(name, taken) or _nearest(name, unused)
    instead = f"did you mean {nearest}?" if nearest else f"GET /docs shows the {noun}s that there are"
    return f"Unknown {noun}: {_quoted(name)}; {instead}"


def _nearest(name: str, names: Iterable[str]) -> str | None:
    if len(name) > _COMPARED:
        return None
    return next(iter(get_close_matches(name.lower(), sorted(names), n=1, cutoff=_LIKENESS)), None)


def _quoted(name: str) -> str:
    """Return a name such that it looks like no other: with blanks at its ends or letters of elsewhere as escapes."""
    text = shown(name)
    return text if _PLAIN.fullmatch(name) else f"'{text.encode('ascii', 'backslashreplace').decode()}'"


def unused_fields(model: type[Request], names: Iterable[str]) -> list[str]:
    """Return those of the names of a body's fields, sorted, that `model` does not take."""
    return sorted(set(names) - taken_names(model))


def unused_note(model: type[Request], names: Iterable[str]) -> str | None:
    """Return the sentence about the fields that `model` does not take; None where it takes them all."""
    unused = unused_fields(model, names)
    return f"Prestager does not use, and did not keep: {', '.join(map(shown, unused))}." if unused else None
