"""Release numbers of the form MM.mm, and the staged release that a subcloud shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from statemachine.states import PrestageStatus

RELEASE_FORM: Final = r"[0-9]{1,4}\.[0-9]{1,4}"
_RELEASE: Final = re.compile(RELEASE_FORM)
# Columns of a subcloud that has no staged release, as far as is known.
NOTHING_STAGED: Final[Mapping[str, None]] = {"prestage_status": None, "prestage_versions": None}


def is_release(text: str) -> bool:
    """Return whether `text` is a release of the wire: two numbers and a dot, such as 22.12."""
    return _RELEASE.fullmatch(text) is not None


def is_older(release: str, than: str) -> bool:
    """Return whether `release` comes before `than`; false where one of them is not a release."""
    if not (is_release(release) and is_release(than)):
        return False
    return release_order(release) < release_order(than)


def names_release(text: str, release: str) -> bool:
    """Return whether a text names `release`, as 23.09 or as a patch of it such as 23.09.1."""
    return re.search(rf"(?<![0-9.]){re.escape(release)}(?![0-9])", text) is not None


def release_order(release: str) -> tuple[int, ...]:
    """Return the key that sorts releases, the oldest first.

    Raises:
        ValueError: `release` is not a release.
    """
    return tuple(int(part) for part in release.split("."))


def is_staged(subcloud: Mapping[Any, Any]) -> bool:
    """Return whether a subcloud shows that a release is completely staged."""
    return bool(subcloud["prestage_status"] == PrestageStatus.COMPLETE)


def is_outlived(subcloud: Mapping[Any, Any], version: str) -> bool:
    """Return whether the staged release that a subcloud shows is gone from its site, which runs `version` now.

    Another version than the one that the site ran when the release was staged means that this release was deployed,
    or that the site was installed anew. Where that version is not known, the declared one counts.
    """
    return is_staged(subcloud) and (subcloud["prestage_from_version"] or subcloud["software_version"]) != version
