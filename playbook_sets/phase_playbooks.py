"""Playbook and variables of each phase (contract 8.9 and 10).

Names and extra variables are upstream's, so that a StarlingX controller can bring its own playbooks: those of the seed
for our set and for one of that time, those of today for a set that has no prepare playbook any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playbook_sets.playbook_set import PLAYBOOKS, PlaybookSet, read_playbook_set
from runner.errors import NoUnstagePlaybookError
from runner.interface import DEFAULT_FLOOR_RATE_MBIT_S, PlaybookJob
from runner.ssh_arguments import KnownHost
from statemachine.states import StepState

_IMAGE_LIST: Final = "prestage_images"


@dataclass(frozen=True, kw_only=True)
class ControllerLayout:
    """Paths on the system controller, and the longest time of each phase."""

    playbooks_dir: Path
    # Holds <release>/prestage_images* and <release>/prestage/shared.
    deploy_dir: Path
    # Holds rel-<release>/ of every release.
    feed_dir: Path
    ssh_user: str
    # Name of this installation, by which a site distinguishes its controllers.
    origin: str
    # Longest time of each phase, in seconds; what a run brings to its site may need more.
    deadlines_s: Mapping[StepState, float]
    # Slowest link to a site, in Mbit/s.
    floor_rate_mbit_s: float = DEFAULT_FLOOR_RATE_MBIT_S
    # How many staged releases stay on a site; 0: all.
    keep_releases: int = 0


@dataclass(frozen=True, kw_only=True)
class PhaseOrder:
    """One phase of one subcloud to carry out."""

    run_id: int
    phase: StepState
    subcloud_name: str
    release: str
    # What the site runs.
    from_version: str
    oam_address: str | None
    # The site's Ansible connection variables, without secrets.
    connection: Mapping[str, Any]
    # What the site is prestaged for: a software deploy, or an install.
    for_sw_deploy: bool
    # The site's SSH keys; None: they are not checked.
    known_host: KnownHost | None = None
    # The controller's list of software, for a set that takes it; empty: the playbook asks for itself.
    software_list: Sequence[str] = ()
    # Digest of the packages that the step has passed, for an earlier run brought them; None: it passed none.
    passed_content: str | None = None
    # Releases that stay on the site whatever the layout says.
    protected_releases: Sequence[str] = ()

    @property
    def is_upgrade(self) -> bool:
        """Whether the site runs another release than the one to stage; the other case is a reinstall (contract 8.9)."""
        return self.from_version != self.release


def find_image_list(layout: ControllerLayout, release: str) -> Path | None:
    """Return the release's image list: the first file, by name, that begins with `prestage_images`."""
    directory = layout.deploy_dir / release
    found = sorted(path for path in directory.glob(f"{_IMAGE_LIST}*") if path.is_file())
    return found[0] if found else None


def nothing_to_do(layout: ControllerLayout, order: PhaseOrder) -> str | None:
    """Return why the phase has no work for this site, None when it has; the text becomes the phase's log.

    A site that has passed a phase is looked at in any case.
    """
    return None if order.passed_content is not None else _idle_reason(layout, order)


def _idle_reason(layout: ControllerLayout, order: PhaseOrder) -> str | None:
    playbooks = read_playbook_set(layout.playbooks_dir)
    if order.phase == StepState.UNSTAGING:
        return None
    if order.phase == StepState.PREPARE and not order.is_upgrade and not playbooks.proves:
        return f"The playbooks in {layout.playbooks_dir} do not say what content they bring: there is nothing to do.\n"
    if order.phase not in playbooks.phases:
        return f"The playbooks in {layout.playbooks_dir} have none for this phase: there is nothing to prepare.\n"
    if order.phase != StepState.IMAGES or find_image_list(layout, order.release) is not None:
        return None
    missing = f"No file {_IMAGE_LIST}* in {layout.deploy_dir / order.release}: there are no images to stage.\n"
    # An upgrade whose image list was never uploaded brings no images; nor does, by today's rule, what is staged for a
    # software deploy (contract 8.9).
    return missing if order.is_upgrade or (playbooks.is_newer and order.for_sw_deploy) else None


def passing_fault(layout: ControllerLayout, order: PhaseOrder) -> str | None:
    """Return why a site may not be worked on that has passed phases; None: it may."""
    if order.passed_content is None or read_playbook_set(layout.playbooks_dir).proves:
        return None
    return (
        f"The playbooks in {layout.playbooks_dir} do not look at a site for what earlier runs have staged. Retry: the"
        " next retry begins at this site with the packages."
    )


def require_unstage_playbook(directory: Path) -> None:
    """Do nothing when the set of playbooks in `directory` removes staged releases.

    Raises:
        NoUnstagePlaybookError: It does not.
    """
    if StepState.UNSTAGING not in read_playbook_set(directory).phases:
        raise NoUnstagePlaybookError(directory, PLAYBOOKS[StepState.UNSTAGING])


def playbook_job(layout: ControllerLayout, order: PhaseOrder, password: str) -> PlaybookJob:
    """Return the playbook run of a phase; `password` is the site's, for login and become.

    Raises:
        ValueError: The phase is not one that a playbook does.
        NoUnstagePlaybookError: A staged release is to be removed, and the set has no playbook for it.
    """
    if order.phase == StepState.UNSTAGING:
        require_unstage_playbook(layout.playbooks_dir)
    playbook = PLAYBOOKS.get(order.phase)
    if playbook is None:
        raise ValueError(f"{order.phase} has no playbook")
    playbooks = read_playbook_set(layout.playbooks_dir)
    return PlaybookJob(
        run_id=order.run_id,
        # One run keeps one set, though a link to it is exchanged meanwhile.
        playbook=layout.playbooks_dir.resolve() / playbook,
        host=order.subcloud_name,
        host_vars=_host_vars(layout, order),
        secrets={"ansible_ssh_pass": password, "ansible_become_pass": password},
        extra_vars=_extra_vars(layout, order, playbooks),
        known_host=order.known_host,
        deadline_s=layout.deadlines_s[order.phase],
        floor_rate_mbit_s=layout.floor_rate_mbit_s,
        is_ours=playbooks.is_ours,
    )


def connection_vars(ssh_user: str, oam_address: str | None, connection: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables by which Ansible reaches a site; `connection` has those of its inventory."""
    # A local connection has no login: a user that does not exist would give Ansible a wrong home. And of two names
    # for the same thing, only the operator's may be there.
    has_login = connection.get("ansible_connection") != "local" and "ansible_user" not in connection
    return {
        **({"ansible_ssh_user": ssh_user} if has_login else {}),
        **({"ansible_host": oam_address} if oam_address else {}),
        # The operator's own variables win: a site may be behind a port or a jump host.
        **connection,
    }


def _host_vars(layout: ControllerLayout, order: PhaseOrder) -> dict[str, Any]:
    return connection_vars(layout.ssh_user, order.oam_address, order.connection)


def _own_vars(layout: ControllerLayout, order: PhaseOrder) -> dict[str, Any]:
    """Return the variables of our playbooks alone: in other sets such a name may mean another thing.

    They are extra variables, which nothing overrides: neither what a caller says of a site, nor what the site answers.
    So they say what is opened and written on the controller, and which run the site lets in.
    """
    shared = layout.deploy_dir / order.release / "prestage" / "shared"
    return {
        "controller_feed_root": str(layout.feed_dir),
        "prestage_shared_root": str(shared),
        "prestage_archive_dir": str(shared / "archives"),
        "subcloud_software_version": order.from_version,
        "prestager_origin": layout.origin,
        # A run is claimed once and a new attempt is a new run, so the id only grows: the site's fencing token.
        "prestager_run_token": order.run_id,
        # The site stays locked for as long as the run may take.
        "prestage_floor_rate_mbit_s": layout.floor_rate_mbit_s,
        "prestage_deadline_s": layout.deadlines_s[order.phase],
        **_passing_vars(layout, order),
        **_removal_vars(layout, order),
    }


def _passing_vars(layout: ControllerLayout, order: PhaseOrder) -> dict[str, Any]:
    """Return nothing unless the site has passed the packages: then they are looked for, also where no work is left."""
    if order.passed_content is None:
        return {}
    return {
        "prestage_passed_content": order.passed_content,
        "prestage_check_only": _idle_reason(layout, order) is not None,
    }


def _removal_vars(layout: ControllerLayout, order: PhaseOrder) -> dict[str, Any]:
    """Return nothing unless old releases are removed: without the second variable the playbooks remove none."""
    if not layout.keep_releases:
        return {}
    return {
        "prestage_keep_releases": layout.keep_releases,
        "prestage_protected_releases": list(order.protected_releases),
    }


def _extra_vars(layout: ControllerLayout, order: PhaseOrder, playbooks: PlaybookSet) -> dict[str, Any]:
    own = _own_vars(layout, order) if playbooks.is_ours else {}
    return {**own, **_phase_vars(layout, order, playbooks)}


def _phase_vars(layout: ControllerLayout, order: PhaseOrder, playbooks: PlaybookSet) -> dict[str, Any]:
    if order.phase == StepState.PREPARE:
        return {"current_software_version": order.release, "previous_software_version": order.from_version}
    extra_vars: dict[str, Any] = {"software_version": order.release}
    if order.phase == StepState.PACKAGES and playbooks.takes_software_list and order.software_list:
        extra_vars["system_controller_sw_list"] = list(order.software_list)
    if playbooks.takes_reason:
        extra_vars["prestage_reason"] = "for_sw_deploy" if order.for_sw_deploy else "for_install"
    image_list = find_image_list(layout, order.release) if order.phase == StepState.IMAGES else None
    # By the seed's rule a reinstall takes its images from the site's own registry: no list is passed (contract 8.9).
    if image_list is not None and (order.is_upgrade or playbooks.is_newer):
        extra_vars["image_list_file"] = str(image_list)
    return extra_vars
