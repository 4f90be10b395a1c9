"""Content of the system controller's directories: releases, package feeds, and mounts of releases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playbook_sets.phase_playbooks import ControllerLayout, PhaseOrder
from playbook_sets.playbook_set import read_playbook_set
from statemachine.releases import is_release, release_order
from statemachine.states import StepState

_FEED: Final = "rel-"
# Names that are reported of one directory, the newest.
_MOST: Final = 100

_REPOSITORY: Final = "ostree_repo"
# Every repository has it.
_CONFIG: Final = "config"


@dataclass(frozen=True, kw_only=True)
class ControllerContent:
    """Content of the system controller, as a process finds it."""

    # Releases (MM.mm) that have a directory below the deploy directory, oldest first.
    releases: tuple[str, ...]
    # Releases that have a package feed, oldest first.
    feeds: tuple[str, ...]


class ControllerSurvey:
    """Looks at the controller's directories; slow where they are on a network, so never where others wait."""

    def __init__(self, layout: ControllerLayout) -> None:
        self._layout = layout

    def look(self) -> ControllerContent:
        """Return the content now; directories that are missing or unreadable hold nothing."""
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


def release_fault(layout: ControllerLayout, order: PhaseOrder) -> str | None:
    """Return why the release of an order cannot be deployed from this controller, with what to do; None: it can.

    Looked at once for all sites of a strategy, as their preparation; sites that need none, for they run the release
    already, are looked at before their packages.
    """
    if not _stages_repository(layout, order):
        return None
    config = _repository(layout, order) / _CONFIG
    if os.access(config, os.R_OK):
        return None
    return (
        f"The system controller has no OSTree repository of release {order.release}: {config} is not there or cannot be"
        " read. Upload the release there (software upload), or mount its feed on this worker, and prestage again."
    )


def mount_note(layout: ControllerLayout, order: PhaseOrder) -> str:
    """Return a line for the log about a mount of the release that shows another repository; empty: nothing is wrong.

    StarlingX's playbooks of today copy the release's OSTree repository from its feed. dcmanager mounts it once more,
    beside the deploy directory, for installations of sites; a mount of a feed that was replaced since then shows the
    old one. A mount that is not there is no error: dcmanager makes it.
    """
    if not _stages_repository(layout, order):
        return ""
    repository, mount = _repository(layout, order), layout.deploy_dir.parent / "iso" / order.release / _REPOSITORY
    try:
        # A mount has the identity of what is mounted.
        if not mount.exists() or mount.samefile(repository):
            return ""
    except OSError as error:
        return f"Warning: whether {mount} is mounted is not known: {error.strerror}.\n"
    return (
        f"Warning: {mount} is not {repository}, but an older one: sites are installed from it. Mount it anew: umount"
        f" {mount}; mount --bind {repository} {mount}\n"
    )


def _stages_repository(layout: ControllerLayout, order: PhaseOrder) -> bool:
    phase = StepState.PREPARE if order.is_upgrade else StepState.PACKAGES
    if order.phase != phase or not order.for_sw_deploy:
        return False
    playbooks = read_playbook_set(layout.playbooks_dir)
    return playbooks.is_newer and playbooks.stages_repository


def _repository(layout: ControllerLayout, order: PhaseOrder) -> Path:
    return layout.feed_dir / f"rel-{order.release}" / _REPOSITORY
