"""Places of errors in what people write, and what to write instead, without the words of the parsers.

Those quote the text, which may hold a secret, or name types of the language that they are written in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from messages.errors import TomlError

_TOML_PLACE: Final = re.compile(r"\(at line ([0-9]+), column ([0-9]+)\)$")
_IN_QUOTES: Final = 'write a text in quotes: name = "value"'
# What a line looks like, and what is to be written; the first that fits. Tried on the line that the parser names.
_TOML_HINTS: Final = (
    (re.compile(r"\s*[\w.-]+\s*:"), 'write an equals sign in place of the colon: name = "value"'),
    (re.compile(r"\s*[\w.-]+\s*=\s*(#.*)?$"), "a value is missing after the equals sign"),
    (re.compile(r"\s*[\w.-]+\s*=\s*[^\"'\[{\s]"), _IN_QUOTES),
    (re.compile(r"\s*[\w.-]+\s*=\s*(\"[^\"]*|'[^']*)$"), "the quote at the end is missing"),
    (re.compile(r".*\\"), "write a backslash in quotes twice, or put the text in single quotes"),
    (re.compile(r"[^=\[]*$"), 'write name = "value"'),
)
_TOML_TWICE: Final = ("Cannot overwrite", "Cannot declare", "Duplicate")

# How pydantic begins its sentences on a value, and what follows that people have no use for.
_SHOULD: Final = "Input should be"
_EMPTY: Final = "String should have at least 1 character"
_PARSING: Final = re.compile(r", unable to (parse|interpret) .*$")
_PLAIN: Final[Mapping[str, str]] = {
    "a valid integer": "a whole number",
    "a valid integer, got a number with a fractional part": "a whole number",
    "a valid number": "a number",
    "a finite number": "a finite number",
    "a valid boolean": "true or false",
    "a valid string": "text",
    "a valid path": "a path",
    "not a valid path": "a path",
}


def read_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML text.

    Raises:
        TomlError: It is none, or nested too deeply.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        place = "it is nested too deeply"
    except tomllib.TOMLDecodeError as error:
        place = _toml_place(text, str(error))
    # Outside of the block, for the cause would hold the parser's words.
    raise TomlError(place)


def _toml_place(text: str, message: str) -> str:
    found = _TOML_PLACE.search(message)
    lines = text.splitlines() or [""]
    if found is None:
        hint = _toml_hint(lines[-1])
        return "it ends too early" + (f"; {hint}" if hint else "")
    place = f"see line {found[1]}, column {found[2]}"
    if message.startswith(_TOML_TWICE):
        return f"{place}; a name or table is there twice"
    hint = _toml_hint(lines[min(int(found[1]), len(lines)) - 1])
    return f"{place}; {hint}" if hint else place


def _toml_hint(line: str) -> str | None:
    return next((hint for form, hint in _TOML_HINTS if form.match(line)), None)


def line_of(name: str, text: str) -> int | None:
    """Return the number of the line in a TOML text that gives a name at the top its value; None: not found."""
    form = re.compile(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if form.match(line)), None)


def plain_validation_text(message: str) -> str:
    """Return what pydantic says of a value in plain words, without a capital: `must be a whole number`.

    Messages of our own validators come back as they are.
    """
    text = _PARSING.sub("", message.removeprefix("Value error, "))
    if text == _EMPTY:
        return "must not be empty"
    if not text.startswith(_SHOULD):
        return text[:1].lower() + text[1:]
    wanted = text.removeprefix(_SHOULD).strip()
    return f"must be {_PLAIN.get(wanted, wanted)}"
