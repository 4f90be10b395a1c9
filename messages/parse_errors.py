"""Places of errors in files that people write, without the words of the parsers, which quote the file."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

_TOML_PLACE: Final = re.compile(r"\(at line ([0-9]+), column ([0-9]+)\)$")


class TomlError(ValueError):
    """A text is not TOML; the message says where and repeats nothing of it."""


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
        found = _TOML_PLACE.search(str(error))
        place = f"see line {found[1]}, column {found[2]}" if found else "it ends too early"
    # Outside of the block, for the cause would hold the parser's words.
    raise TomlError(place)
