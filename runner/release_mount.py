"""Whether the system controller has a release mounted as StarlingX's playbooks of today read it.

They copy the release's OSTree repository from its feed. dcmanager mounts it once more where installations of sites read
it; a mount of a feed that was replaced since then shows the old one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from runner.phase_playbooks import ControllerLayout, PhaseOrder
from runner.playbook_set import read_playbook_set
from statemachine.states import StepState

_REPOSITORY: Final = "ostree_repo"
# Every repository has it.
_CONFIG: Final = "config"


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

    StarlingX has the mount beside the deploy directory. One that is not there is no fault: dcmanager makes it.
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
