"""Whether the controller has a release as StarlingX's playbooks of today read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook_sets.controller_content import mount_note, release_fault
from playbook_sets.phase_playbooks import ControllerLayout, PhaseOrder
from statemachine.states import StepState
from tests.support.foreign_playbooks import newer_set, seed_set

PREPARE, PACKAGES, IMAGES = StepState.PREPARE, StepState.PACKAGES, StepState.IMAGES


@pytest.fixture
def layout(tmp_path: Path) -> ControllerLayout:
    """Give a controller with a set of today that stages the repository of a release."""
    playbooks = newer_set(tmp_path / "playbooks").directory
    with (playbooks / "prestage_sw_packages.yml").open("a") as file:
        file.write("# /var/www/pages/feed/rel-24.09/ostree_repo\n")
    return controller(tmp_path, playbooks)


def controller(root: Path, playbooks: Path) -> ControllerLayout:
    """Return a controller whose directories are below `root`."""
    return ControllerLayout(
        playbooks_dir=playbooks,
        deploy_dir=root / "deploy",
        feed_dir=root / "feed",
        ssh_user="sysadmin",
        origin="here",
        deadlines_s={},
    )


def order(phase: StepState = PREPARE, *, from_version: str = "22.12", for_sw_deploy: bool = True) -> PhaseOrder:
    """Return an order to stage 24.09."""
    return PhaseOrder(
        run_id=7,
        phase=phase,
        subcloud_name="edge",
        release="24.09",
        from_version=from_version,
        oam_address=None,
        connection={},
        for_sw_deploy=for_sw_deploy,
    )


def repository(root: Path) -> Path:
    """Put a repository below `root`."""
    made = root / "ostree_repo"
    made.mkdir(parents=True)
    (made / "config").touch()
    return made


def test_a_release_that_is_not_there(layout: ControllerLayout) -> None:
    """Without a repository nothing can be staged for a deployment, and the sentence says what to do."""
    fault = release_fault(layout, order())

    assert (
        "The system controller has no OSTree repository of release 24.09:"
        f" {layout.feed_dir}/rel-24.09/ostree_repo/config is not there or cannot be read. Upload the release there"
        " (software upload), or mount its feed on this worker, and prestage again."
    ) == fault


@pytest.mark.parametrize(
    ("given", "is_looked_at"),
    [
        ({"phase": PREPARE}, True),
        ({"phase": PACKAGES}, False),
        ({"phase": PACKAGES, "from_version": "24.09"}, True),
        ({"phase": IMAGES}, False),
        ({"phase": PREPARE, "for_sw_deploy": False}, False),
    ],
)
def test_it_is_looked_at_once(layout: ControllerLayout, given: dict[str, object], is_looked_at: bool) -> None:
    """Once, as preparation; before packages only of a site that needs none. An install does not read it."""
    assert is_looked_at is (release_fault(layout, order(**given)) is not None)


def test_other_sets_need_none(tmp_path: Path) -> None:
    """Sets that stage no such repository, and those that prepare packages themselves, are not asked for it."""
    for name, write in (("newer", newer_set), ("seed", seed_set)):
        playbooks = write(tmp_path / name).directory
        if write is seed_set:
            (playbooks / "prestage_images.yml").write_text("- hosts: all # ostree_repo\n")
        place = controller(tmp_path, playbooks)

        assert (None, "") == (release_fault(place, order()), mount_note(place, order()))


def test_a_release_that_is_there(layout: ControllerLayout) -> None:
    """A repository in the feed suffices: dcmanager mounts it where it has not been mounted yet."""
    repository(layout.feed_dir / "rel-24.09")

    assert (None, "") == (release_fault(layout, order()), mount_note(layout, order()))


@pytest.mark.parametrize("is_same", [True, False])
def test_a_mount_of_another_repository(layout: ControllerLayout, is_same: bool) -> None:
    """A mount that shows another repository than the feed's is told in the log, with how to mend it."""
    source = repository(layout.feed_dir / "rel-24.09")
    mount = layout.deploy_dir.parent / "iso" / "24.09"
    if is_same:
        mount.mkdir(parents=True)
        (mount / "ostree_repo").symlink_to(source)
    else:
        repository(mount)

    note = mount_note(layout, order())

    assert is_same is (note == "")
    assert is_same or f"umount {mount}/ostree_repo; mount --bind {source} {mount}/ostree_repo\n" in note
    assert release_fault(layout, order()) is None
