"""Release numbers of the form MM.mm, and the staged release that a subcloud shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from statemachine.states import PrestageStatus

_RELEASE: Final = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
# The columns that show what is staged on a subcloud, where nothing is known to be.
NOTHING_STAGED: Final[Mapping[str, None]] = {"prestage_status": None, "prestage_versions": None}


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


def is_staged(subcloud: Mapping[Any, Any]) -> bool:
    """Return whether a subcloud shows that a release is completely staged."""
    return bool(subcloud["prestage_status"] == PrestageStatus.COMPLETE)


def is_outlived(subcloud: Mapping[Any, Any], version: str) -> bool:
    """Return whether a subcloud shows as staged what a site that now runs `version` does not have any more.

    Another version than the one that the site ran when the release was staged means that this release was deployed,
    or that the site was installed anew. Where that version is not known, the declared one counts.
    """
    return is_staged(subcloud) and (subcloud["prestage_from_version"] or subcloud["software_version"]) != version
