"""The staged release that a subcloud shows, and when that ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from statemachine.states import PrestageStatus

# The columns that show what is staged on a subcloud, where nothing is known to be.
NOTHING_STAGED: Final[Mapping[str, None]] = {"prestage_status": None, "prestage_versions": None}


def is_staged(subcloud: Mapping[Any, Any]) -> bool:
    """Return whether a subcloud shows that a release is completely staged."""
    return bool(subcloud["prestage_status"] == PrestageStatus.COMPLETE)


def is_outlived(subcloud: Mapping[Any, Any], version: str) -> bool:
    """Return whether a subcloud shows as staged what a site that now runs `version` does not have any more.

    Another version than the one that the site ran when the release was staged means that this release was deployed,
    or that the site was installed anew. Where that version is not known, the declared one counts.
    """
    return is_staged(subcloud) and (subcloud["prestage_from_version"] or subcloud["software_version"]) != version
