"""Checks names that come from outside (metadata, lists, archives) before they become paths."""

import re

from .errors import PrestageError

# At least one character that is neither a separator, nor a control character, nor a backslash.
COMPONENT = re.compile(r"^[^/\\\x00-\x1f\x7f]+$")
RELEASE = re.compile(r"^[0-9]+(\.[0-9]+){1,3}$")
SHA256 = re.compile(r"^[0-9a-f]{64}$")


def relative_path(name: object, where: str) -> str:
    """
    Return `name` if it stays below the directory it will be joined to.

    Raises:
        PrestageError: It is empty, absolute, climbs with `..`, is hidden, or holds control characters.
    """
    if not isinstance(name, str) or not name:
        raise PrestageError(f"{where} holds an empty or non-text file name. It must be made again.")
    for component in name.split("/"):
        if component.startswith(".") or not COMPONENT.match(component):
            raise PrestageError(f"{where} holds the unsafe file name {name!r}. Nothing was written; do not trust it.")
    return name


def release_number(release: str) -> str:
    """Return `release` if it is a number such as 23.09, which is safe as part of a path."""
    if not RELEASE.match(release):
        raise PrestageError(f"{release!r} is not a software version. Give it as MM.mm, for example 23.09.")
    return release


def is_older(release: str, other: str) -> bool:
    """Tell whether `release` comes before `other`, number by number."""
    return _parts(release) < _parts(other)


def _parts(release: str) -> list:  # type: ignore[type-arg]
    return [int(part) for part in release_number(release).split(".")]
