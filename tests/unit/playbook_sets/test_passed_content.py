"""What a set of playbooks gets and does at a site that has passed the packages (decision 68)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from playbook_sets.phase_playbooks import nothing_to_do, passing_fault, playbook_job
from playbook_sets.playbook_set import read_playbook_set
from tests.support.foreign_playbooks import newer_set, seed_set
from tests.unit.playbook_sets.test_playbook_variables import IMAGES, OURS, PREPARE, layout, order, upload_list


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Return a copy of our set from before it looked at sites for what was passed."""
    copy = tmp_path / "older"
    shutil.copytree(OURS, copy)
    images = copy / "prestage_images.yml"
    images.write_text(images.read_text().replace("prestage_passed_content", "prestage_another"))
    return copy


def test_the_digest_is_given(tmp_path: Path) -> None:
    """The images playbook gets the digest to look for, and the word that it ends there when no images are left."""
    place = layout(tmp_path, OURS)
    passed = order(IMAGES, passed_content="d1")

    assert nothing_to_do(place, order(IMAGES)) is not None
    assert nothing_to_do(place, passed) is None
    without_list = playbook_job(place, passed, "").extra_vars
    assert ("d1", True) == (without_list["prestage_passed_content"], without_list["prestage_check_only"])

    upload_list(tmp_path)

    with_list = playbook_job(place, passed, "").extra_vars
    assert ("d1", False) == (with_list["prestage_passed_content"], with_list["prestage_check_only"])


def test_others_are_given_nothing(tmp_path: Path) -> None:
    """A site that passed nothing gets neither variable."""
    upload_list(tmp_path)
    given = playbook_job(layout(tmp_path, OURS), order(IMAGES), "").extra_vars

    assert not {"prestage_passed_content", "prestage_check_only"} & set(given)


def test_a_set_that_does_not_look(tmp_path: Path, older: Path) -> None:
    """A set that would not look at the site is refused for one that passed the packages, and for no other."""
    for directory in (older, seed_set(tmp_path / "seed").directory, newer_set(tmp_path / "newer").directory):
        place = layout(tmp_path, directory)
        assert not read_playbook_set(directory).proves
        assert "do not look at a site" in (passing_fault(place, order(IMAGES, passed_content="d1")) or "")
        assert passing_fault(place, order(IMAGES)) is None
    assert passing_fault(layout(tmp_path, OURS), order(IMAGES, passed_content="d1")) is None


def test_the_content_for_a_reinstall(tmp_path: Path, older: Path) -> None:
    """Only a set that proves says the content for sites of the release itself; others have nothing to do."""
    again = order(PREPARE, from_version="23.09")

    assert nothing_to_do(layout(tmp_path, OURS), again) is None
    assert "do not say what content they bring" in (nothing_to_do(layout(tmp_path, older), again) or "")
