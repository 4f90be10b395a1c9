"""Survey of the system controller's directories: releases and package feeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runner.phase_playbooks import ControllerLayout
from statemachine.releases import is_release, release_order

_FEED: Final = "rel-"
# Names that are reported of one directory, the newest.
_MOST: Final = 100


@dataclass(frozen=True, kw_only=True)
class ControllerContent:
    """What a process finds on the system controller."""

    # Releases (MM.mm) that have a directory below the deploy directory, oldest first.
    releases: tuple[str, ...]
    # Releases that have a package feed, oldest first.
    feeds: tuple[str, ...]


class ControllerSurvey:
    """Looks at the controller's directories; slow where they are on a network, so never where others wait."""

    def __init__(self, layout: ControllerLayout) -> None:
        self._layout = layout

    def look(self) -> ControllerContent:
        """Return what is there now; directories that are missing or unreadable hold nothing."""
        return ControllerContent(
            releases=_releases(self._layout.deploy_dir, prefix=""),
            feeds=_releases(self._layout.feed_dir, prefix=_FEED),
        )


def _releases(directory: Path, *, prefix: str) -> tuple[str, ...]:
    try:
        names = {
            place.name.removeprefix(prefix)
            for place in directory.iterdir()
            if place.name.startswith(prefix) and place.is_dir()
        }
    except OSError:
        return ()
    return tuple(sorted(filter(is_release, names), key=release_order)[-_MOST:])
