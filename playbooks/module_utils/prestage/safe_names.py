"""Checks names that come from outside (metadata, lists, archives) before they become paths."""

import re

from .errors import PrestageError

# At least one character that is neither a separator, nor a control character, nor a backslash. All end in \Z: `$` also
# matches before a line break at the end.
COMPONENT = re.compile(r"[^/\\\x00-\x1f\x7f\ud800-\udfff]+\Z")
RELEASE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){1,3}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# How much of a foreign value goes into a message.
SHOWN_CHARACTERS = 200
# What Linux takes as one name and as one path, in bytes.
LONGEST_COMPONENT = 255
LONGEST_PATH = 4000
# No file is larger, in bytes: 1 PiB.
LARGEST_SIZE = 2**50


def relative_path(name: object, where: str) -> str:
    """
    Return `name` if it stays below the directory it will be joined to.

    Raises:
        PrestageError: It is empty, absolute, climbs with `..`, is hidden, or holds control characters.
    """
    if not isinstance(name, str) or not name:
        raise PrestageError(f"{where} holds an empty or non-text file name. It must be made again.")
    if not all(map(_is_safe, name.split("/"))) or len(name.encode("utf-8", "replace")) > LONGEST_PATH:
        raise PrestageError(
            f"{where} holds the unsafe file name {excerpt(name)}. Nothing was written; do not trust it."
        )
    return name


def plain_path(name: object, where: str) -> str:
    """
    Return `relative_path` of a name without its empty and `.` components: `./a//b` is `a/b`.

    Raises:
        PrestageError: As `relative_path` does.
    """
    if isinstance(name, str) and not name.startswith("/"):
        name = "/".join(part for part in name.split("/") if part not in ("", "."))
    return relative_path(name, where)


def is_size(value: object) -> bool:
    """Tell whether `value` can be the size of a file, in bytes."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_SIZE


def excerpt(value: object) -> str:
    """Return the beginning of a value for a message; control characters are escaped."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _is_safe(component: str) -> bool:
    return (
        not component.startswith(".")
        and COMPONENT.match(component) is not None
        and len(component.encode("utf-8")) <= LONGEST_COMPONENT
    )


def release_number(release: str) -> str:
    """Return `release` if it is a number such as 23.09, which is safe as part of a path."""
    if not RELEASE.match(release):
        raise PrestageError(f"{excerpt(release)} is not a software version. Give it as MM.mm, for example 23.09.")
    return release
