"""Old staged releases leave a site where a number is set, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.staged_releases import outdated_releases, remove_release, staged_releases

from tests.unit.playbooks.playbook_modules import LOCK_PARAMS, Controller, load_work


def mark(backup: Path, release: str, marker: str = "prestage_packages_complete.json") -> Path:
    """Make a release that is complete on the site."""
    directory = backup / release
    directory.mkdir(exist_ok=True)
    (directory / marker).write_text(json.dumps({"release": release}))
    return directory


def remove(backup: Path, keep: int, *protected: str) -> dict[str, Any]:
    """Call the site's module."""
    params = {**LOCK_PARAMS, "backup_dir": str(backup), "keep": keep, "release": "", "protected": list(protected)}
    return load_work("prestage_remove_releases")(params)


def unstage(backup: Path, release: str, *protected: str) -> dict[str, Any]:
    """Have the site's module remove one release."""
    params = {**LOCK_PARAMS, "backup_dir": str(backup), "keep": 0, "release": release, "protected": list(protected)}
    return load_work("prestage_remove_releases")(params)


@pytest.mark.parametrize(
    ("keep", "protected", "gone"),
    [
        (0, set(), []),
        (1, set(), ["9.12", "22.12", "23.09"]),
        (2, set(), ["9.12", "22.12"]),
        (4, set(), []),
        (9, set(), []),
        (2, {"9.12"}, ["22.12", "23.09"]),
        (1, {"9.12", "22.12", "23.09", "24.09"}, []),
        (3, {"22.12"}, ["9.12"]),
    ],
)
def test_the_oldest_go_until_the_number_is_kept(keep: int, protected: set[str], gone: list[str]) -> None:
    """The oldest go first, protected ones count but never go, and 0 keeps all."""
    assert gone == outdated_releases(["9.12", "22.12", "23.09", "24.09"], keep, protected)


def test_only_releases_of_ours_are_seen(tmp_path: Path) -> None:
    """A directory counts if its name is a release and a marker in it says so; order is by number."""
    for release in ("22.12", "9.12"):
        mark(tmp_path, release)
    mark(tmp_path, "24.09", "prestage_images_complete.json")
    (mark(tmp_path, "23.09") / "prestage_packages_complete.json").write_text('{"release": "22.12"}')
    (tmp_path / "21.12").mkdir()
    mark(tmp_path, "backup")
    (tmp_path / "25.03").symlink_to(tmp_path / "24.09")

    assert ["9.12", "22.12", "24.09"] == staged_releases(str(tmp_path))


def test_a_removed_release_leaves_nothing(controller: Controller) -> None:
    """Packages, metadata, markers, images and what a broken fetch left of them are gone with the directory."""
    controller.prepare()
    controller.stage_all()
    for name in ("prestage_images.tar", "prestage_images_complete.json"):
        (controller.release / name).write_text("x")
    (controller.release / ".prestage-images").mkdir()

    remove_release(str(controller.backup), controller.feeds.target)

    assert not controller.release.exists()


def test_what_others_put_there_stays(controller: Controller) -> None:
    """A file of the operator stays, and with it the directory; what is behind a link is not touched."""
    controller.prepare()
    controller.stage_all()
    victim = controller.root / "victim"
    victim.mkdir()
    (victim / "file").write_text("untouched")
    (controller.release / "notes.txt").write_text("of the operator")
    (controller.release / "link").symlink_to(victim)

    remove_release(str(controller.backup), controller.feeds.target)

    assert {"notes.txt", "link"} == {path.name for path in controller.release.iterdir()}
    assert "untouched" == (victim / "file").read_text()


def test_the_module_removes_and_repeats_nothing(tmp_path: Path) -> None:
    """Which releases went is in the answer; a repeat changes nothing, and the site is free."""
    for release in ("22.12", "23.09", "24.09"):
        mark(tmp_path, release)

    first, second = remove(tmp_path, 2, "24.09"), remove(tmp_path, 2, "24.09")

    assert {"changed": True, "removed": ["22.12"]} == first
    assert {"changed": False, "removed": []} == second
    assert ["23.09", "24.09"] == staged_releases(str(tmp_path))
    assert json.loads((tmp_path / ".prestage.lock").read_text())["holder"] is None


def test_one_release_is_removed_and_a_repeat_finds_nothing(tmp_path: Path) -> None:
    """The named release goes, whatever its age; others stay, and a repeat changes nothing."""
    for release in ("22.12", "23.09", "24.09"):
        mark(tmp_path, release)

    first, second = unstage(tmp_path, "23.09", "22.12"), unstage(tmp_path, "23.09", "22.12")

    assert {"changed": True, "removed": ["23.09"]} == first
    assert {"changed": False, "removed": []} == second
    assert ["22.12", "24.09"] == staged_releases(str(tmp_path))


@pytest.mark.parametrize("running", ["23.09", "23.09.1"])
def test_the_release_that_runs_is_never_removed(tmp_path: Path, running: str) -> None:
    """The release that the site runs is refused, also where the site names its patch; the site is free afterwards."""
    mark(tmp_path, "23.09")

    with pytest.raises(PrestageError, match=r"Release 23\.09 stays on this site"):
        unstage(tmp_path, "23.09", "22.12", running)

    assert ["23.09"] == staged_releases(str(tmp_path))
    assert json.loads((tmp_path / ".prestage.lock").read_text())["holder"] is None


def test_what_a_broken_staging_left_is_removed(controller: Controller) -> None:
    """A release whose staging was broken off has no marker, and its files go all the same."""
    controller.prepare()
    controller.stage()
    (controller.backup / ".prestage.lock").unlink()
    assert controller.release.is_dir()

    assert ["23.09"] == unstage(controller.backup, controller.feeds.target)["removed"]
    assert not controller.release.exists()


def test_a_release_with_a_damaged_marker_is_removed(controller: Controller) -> None:
    """A marker that cannot be read proves nothing, neither that the release is complete nor that it is of others."""
    controller.prepare()
    controller.stage_all()
    (controller.release / "prestage_packages_complete.json").write_text("")

    assert ["23.09"] == unstage(controller.backup, controller.feeds.target)["removed"]
    assert not controller.release.exists()


def test_a_removal_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that died while a release was removed shows no complete release, and the next removal ends it."""
    images = mark(tmp_path, "23.09", "prestage_images_complete.json")
    (images / "prestage_images.tar").write_text("x")
    with monkeypatch.context() as broken:
        broken.setattr("ansible.module_utils.prestage.staged_releases.PackageStaging", None)
        with pytest.raises(TypeError):
            remove_release(str(tmp_path), "23.09")
    assert [] == staged_releases(str(tmp_path))
    assert (images / "prestage_images.tar").exists()

    assert ["23.09"] == unstage(tmp_path, "23.09")["removed"]
    assert not images.exists()


def test_a_directory_of_others_stays(tmp_path: Path) -> None:
    """Without a mark of ours nothing is touched: not StarlingX's own files, a link, or a marker of another release."""
    theirs = tmp_path / "23.09"
    theirs.mkdir()
    (theirs / "prestage_images.tar").write_text("of StarlingX")
    (mark(tmp_path, "24.09") / "prestage_packages_complete.json").write_text('{"release": "22.12"}')
    (tmp_path / "25.03").symlink_to(theirs)

    assert [[], [], [], []] == [unstage(tmp_path, name)["removed"] for name in ("23.09", "24.09", "25.03", "25.09")]
    assert "of StarlingX" == (theirs / "prestage_images.tar").read_text()


@pytest.mark.parametrize("release", ["../etc", "backup", "23.09/..", ""])
def test_only_a_release_is_removed(tmp_path: Path, release: str) -> None:
    """A name that is no release is refused; none at all removes nothing."""
    if release:
        with pytest.raises(PrestageError):
            unstage(tmp_path, release)
    else:
        assert [] == unstage(tmp_path, release)["removed"]
