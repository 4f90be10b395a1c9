"""What can go wrong with packages: each fault has its own sentence, and nothing is marked complete."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.errors import PrestageError

from tests.unit.playbooks.playbook_modules import Controller

MARKER = "prestage_packages_complete.json"
HUGE = 1 << 60


def flip_byte(path: Path) -> None:
    """Damage a file without changing its size or what is linked to it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.unlink()
    path.write_bytes(content)


def test_no_space_is_found_before_anything_is_written(controller: Controller) -> None:
    """A site without room fails with the numbers, and its release directory stays empty."""
    controller.prepare()

    with pytest.raises(PrestageError, match=r"Not enough space for the packages in .* needed .* available"):
        controller.stage(min_free_bytes=HUGE)

    assert [] == list(controller.release.iterdir())


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"path": "../../etc/passwd"}, "unsafe file name"),
        ({"path": "/etc/passwd"}, "unsafe file name"),
        ({"path": "Packages/.hidden"}, "unsafe file name"),
        ({"path": "Packages/a\nb"}, "unsafe file name"),
        ({"path": ""}, "empty or non-text file name"),
        ({"sha256": "abc"}, "is no SHA-256"),
        ({"size": -1}, "is no size"),
        ({"size": True}, "is no size"),
        ({"change": "odd"}, "unknown change"),
    ],
)
def test_malformed_manifest_entries_are_refused(controller: Controller, fields: dict[str, Any], fragment: str) -> None:
    """Each field of the manifest is checked before it is used, and a name can never leave the release's directory."""
    controller.prepare()

    with pytest.raises(PrestageError, match=fragment):
        controller.stage(manifest=controller.edit_manifest(**fields))

    assert not controller.release.exists()


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("{", "is malformed"),
        ("[]", "not a JSON object"),
        ('{"format": 2}', "format is 2"),
        ('{"format": 1, "files": []}', "lists no files"),
        ('{"format": 1, "files": [7]}', "not an object"),
    ],
)
def test_malformed_manifests_are_refused(controller: Controller, text: str, fragment: str) -> None:
    """What is not a manifest is refused with its place."""
    with pytest.raises(PrestageError, match=fragment):
        controller.stage(manifest=text)


def test_a_manifest_of_another_release_is_refused(controller: Controller) -> None:
    """A set that was put into the wrong place is not believed."""
    controller.prepare()
    text = (controller.prepared / "manifest.json").read_text().replace('"22.12"', '"21.12"')

    with pytest.raises(PrestageError, match=r"is for release 23.09 from 21.12, not for 23.09 from 22.12"):
        controller.stage(manifest=text)


def test_an_older_release_is_staged(controller: Controller) -> None:
    """A site is staged backwards as it is forwards, for an installation; it ends with exactly the older feed."""
    newer = controller.feeds
    controller.feeds = replace(newer, target=newer.previous, previous=newer.target)
    shutil.rmtree(controller.own_feed)
    shutil.copytree(newer.target_directory, controller.own_feed)
    controller.prepare()

    assert not controller.stage_all()["missing"]
    staged = controller.backup / newer.previous
    wanted = {file.name for file in newer.previous_directory.rglob("*.rpm")}
    assert wanted
    assert wanted == {file.name for file in staged.rglob("*.rpm")}


@pytest.mark.parametrize("release", ["../23.09", "23.09/x", "", "newest"])
def test_a_release_that_is_no_number_never_becomes_a_path(controller: Controller, release: str) -> None:
    """The release is part of paths, so only numbers are taken."""
    with pytest.raises(PrestageError, match="is not a software version"):
        controller.stage(release=release)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "Packages/unknown.rpm"])
def test_an_archive_with_anything_else_is_refused(controller: Controller, name: str) -> None:
    """Only files of the manifest are taken from an archive, whatever their names try."""
    controller.prepare()
    site = controller.stage()
    with tarfile.open(site["upload"], "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))

    with pytest.raises(PrestageError, match="unexpected file"):
        controller.stage(run=site["run"], archive=site["upload"])

    assert not (controller.release / MARKER).exists()
    assert not list(controller.root.rglob("evil"))


def test_an_archive_damaged_on_the_way_is_refused(controller: Controller) -> None:
    """Every byte that travelled is verified on the site; a damaged file does not appear."""
    controller.prepare()
    site = controller.stage()
    shutil.copyfile(controller.pack(site["missing"]), site["upload"])
    flip_byte(Path(site["upload"]))

    with pytest.raises(PrestageError, match="The transferred archive is damaged"):
        controller.stage(run=site["run"], archive=site["upload"])

    assert not (controller.release / MARKER).exists()


def test_an_archive_without_everything_is_refused(controller: Controller) -> None:
    """A site is complete only with every file of the manifest."""
    controller.prepare()
    site = controller.stage()
    shutil.copyfile(controller.pack(site["missing"][1:]), site["upload"])

    with pytest.raises(PrestageError, match="did not reach the site"):
        controller.stage(run=site["run"], archive=site["upload"])

    assert not (controller.release / MARKER).exists()


def test_a_broken_run_is_continued(controller: Controller) -> None:
    """What an earlier run brought and verified is not transferred again."""
    controller.prepare()
    first = controller.stage(origin="a", token=1)
    part = controller.pack(first["missing"][:2])
    shutil.copyfile(part, first["upload"])
    with pytest.raises(PrestageError, match="did not reach the site"):
        controller.stage(origin="a", token=1, run=first["run"], archive=first["upload"])

    second = controller.stage(origin="a", token=2)

    assert first["missing"][2:] == second["missing"]
    assert not Path(first["upload"]).exists()


def test_a_file_damaged_after_completion_is_repaired(controller: Controller) -> None:
    """A marker is believed only while every checksum is right; a second run repairs what is not."""
    controller.prepare()
    controller.stage_all()
    victim = next(path for path in (controller.release / "Packages").iterdir() if "-ng-" in path.name)
    good = victim.read_bytes()
    flip_byte(victim)

    site = controller.stage()
    assert not (controller.release / MARKER).exists()
    shutil.copyfile(controller.pack(site["missing"]), site["upload"])
    done = controller.stage(run=site["run"], archive=site["upload"])

    assert [f"Packages/{victim.name}"] == site["missing"]
    assert 1 == done["stats"]["transferred_count"]
    assert good == victim.read_bytes()


def test_a_complete_site_stays_complete_without_the_prepared_set(controller: Controller) -> None:
    """Once a site is complete, the set may be removed from the controller."""
    controller.prepare()
    controller.stage_all()
    shutil.rmtree(controller.shared)

    assert not controller.stage()["changed"]


def test_files_of_an_earlier_content_are_removed(controller: Controller) -> None:
    """The site ends with exactly the target feed, so its metadata fits what is there."""
    controller.prepare()
    (controller.release / "Packages").mkdir(parents=True)
    (controller.release / "Packages" / "stale-1.0.rpm").write_bytes(b"stale")

    controller.stage_all()

    wanted = sorted(path.name for path in (controller.feeds.target_directory / "Packages").iterdir())
    assert wanted == sorted(path.name for path in (controller.release / "Packages").iterdir())


@pytest.mark.parametrize("damage", [flip_byte, Path.unlink])
def test_a_reinstall_with_a_damaged_feed_fails(controller: Controller, damage: Any) -> None:
    """A reinstall has no other source: a damaged or missing package of the site's own feed is named."""
    own = controller.feeds.target_directory
    victim = sorted((own / "Packages").iterdir())[3]
    damage(victim)

    with pytest.raises(PrestageError, match=f"{victim.name} is missing or damaged in the site's own feed"):
        controller.stage(site_version="23.09", feed_directory=str(own))

    assert not (controller.release / MARKER).exists()


def test_a_package_that_vanished_from_the_set_is_named(controller: Controller) -> None:
    """Packing fails with the missing file's place, and no archive appears."""
    controller.prepare()
    site = controller.stage()
    victim = next(path for path in site["missing"] if path.startswith("Packages/"))
    (controller.prepared / victim).unlink()

    with pytest.raises(PrestageError, match=f"{victim} is missing. It belongs in {controller.prepared}"):
        controller.pack(site["missing"])

    assert [] == list((controller.root / "archives").iterdir())


def test_sites_that_lack_the_same_share_an_archive(controller: Controller) -> None:
    """The archive has exactly the files asked for, and the next site with the same need gets the same one."""
    controller.prepare()
    missing = controller.stage()["missing"]

    first, second = controller.pack(missing), controller.pack(missing[::-1])

    other = controller.pack(missing[:1])
    with tarfile.open(first) as archive:
        assert sorted(missing) == archive.getnames()
    assert first == second
    assert first != other


def test_packing_announces_the_bytes_of_the_transfer(controller: Controller) -> None:
    """The answer says how much travels to the site, which moves the deadline of the run; also of a shared archive."""
    controller.prepare()
    missing = controller.stage()["missing"]

    first, second = controller.packed(missing), controller.packed(missing)

    assert Path(first["archive"]).stat().st_size == first["prestage_transfer_bytes"]
    assert first["prestage_transfer_bytes"] == second["prestage_transfer_bytes"]


def test_an_edited_set_is_not_packed(controller: Controller) -> None:
    """The marker seals the manifest."""
    controller.prepare()
    (controller.prepared / "manifest.json").write_text(controller.edit_manifest(size=1))

    with pytest.raises(PrestageError, match="was changed after it was made"):
        controller.pack(["repodata/repomd.xml"])


def test_two_prepares_at_once_make_one_set(controller: Controller) -> None:
    """Of two prepares started together one works and the other finds the work done."""
    with ThreadPoolExecutor(2) as pool:
        changed = [future.result()["changed"] for future in [pool.submit(controller.prepare) for _ in range(2)]]

    assert [False, True] == sorted(changed)


def test_an_unreadable_feed_keeps_an_intact_set(controller: Controller) -> None:
    """A prepare that cannot read the feed fails and leaves an intact set to the runs that use it."""
    controller.prepare()
    (controller.feeds.target_directory / "repodata" / "repomd.xml").unlink()

    with pytest.raises(PrestageError, match="There is no package feed"):
        controller.prepare()

    assert (controller.prepared / "completed.json").exists()


def test_an_unreadable_feed_withdraws_a_damaged_set(controller: Controller) -> None:
    """A set that is damaged, and cannot be made again, is removed with its marker."""
    controller.prepare()
    (controller.feeds.target_directory / "repodata" / "repomd.xml").unlink()
    next(controller.prepared.glob("Packages/*")).unlink()

    with pytest.raises(PrestageError, match="There is no package feed"):
        controller.prepare()

    assert not controller.prepared.exists()


def test_a_new_content_of_the_feed_makes_a_new_set(controller: Controller) -> None:
    """A marker counts only for the feeds it was made from; what a killed prepare left is swept."""
    controller.prepare()
    (controller.shared / ".building-dead").mkdir()
    metadata = json.loads((controller.prepared / "manifest.json").read_text())
    repomd = controller.feeds.target_directory / "repodata" / "repomd.xml"
    repomd.write_text(repomd.read_text().replace("<revision>1<", "<revision>2<"))

    assert controller.prepare()["changed"]
    assert metadata != json.loads((controller.prepared / "manifest.json").read_text())
    assert [".prepare.lock", "from-22.12"] == sorted(path.name for path in controller.shared.iterdir())
