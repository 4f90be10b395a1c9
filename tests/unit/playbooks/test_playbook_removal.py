"""Old staged releases leave a site where a number is set, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.staged_releases import outdated_releases, remove_release, staged_releases
from playbook_modules import LOCK_PARAMS, Controller, load_work


def mark(backup: Path, release: str, marker: str = "prestage_packages_complete.json") -> Path:
    """Make a release that is complete on the site."""
    directory = backup / release
    directory.mkdir(exist_ok=True)
    (directory / marker).write_text(json.dumps({"release": release}))
    return directory


def remove(backup: Path, keep: int, *protected: str) -> dict[str, Any]:
    """Call the site's module."""
    params = {**LOCK_PARAMS, "backup_dir": str(backup), "keep": keep, "protected": list(protected)}
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
