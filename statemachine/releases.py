"""Release numbers of the form MM.mm."""

from __future__ import annotations

import re
from typing import Final

_RELEASE: Final = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")


def is_release(text: str) -> bool:
    """Tell whether `text` is a release as the wire knows it: two numbers and a dot, such as 22.12."""
    return _RELEASE.fullmatch(text) is not None


def is_older(release: str, than: str) -> bool:
    """Tell whether `release` comes before `than`; a text that is no release is older than nothing."""
    if not (is_release(release) and is_release(than)):
        return False
    return release_order(release) < release_order(than)


def names_release(text: str, release: str) -> bool:
    """Return whether a text names `release`, as 23.09 or as a patch of it such as 23.09.1."""
    return re.search(rf"(?<![0-9.]){re.escape(release)}(?![0-9])", text) is not None


def release_order(release: str) -> tuple[int, ...]:
    """Return what releases are sorted by, the oldest first.

    Raises:
        ValueError: It is no release.
    """
    return tuple(int(part) for part in release.split("."))
