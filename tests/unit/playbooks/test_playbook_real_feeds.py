"""Feeds of real rpms and of createrepo_c in both of its lines: what it writes is prepared and staged."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.feed import read_feed
from ansible.module_utils.prestage.placed_files import RECORD

from tests.unit.playbooks.playbook_modules import Controller
from tests.unit.playbooks.real_feeds import LAYOUTS, PROGRAMS, Layout, build_packages, flat, folder, make_metadata

OLD = ["kept-1.rpm", "changed-1.rpm", "withdrawn-1.rpm"]
NEW = ["kept-1.rpm", "changed-2.rpm", "withdrawn-1.rpm", "new-1.rpm"]
WITHOUT = ["kept-1.rpm", "changed-2.rpm", "new-1.rpm"]


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of real rpms."""
    directory = tmp_path_factory.mktemp("rpms") / "pool"
    build_packages(directory, {"kept": "1", "changed": "1", "changed2": "2", "withdrawn": "1", "new": "1"})
    return directory


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """Return the version of createrepo_c to use."""
    return str(request.param)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    """Return a way to lay packages into a feed."""
    return LAYOUTS[request.param]


def publish(feed: Path, pool: Path, names: list[str], layout: Layout, program: str, *options: str) -> None:
    """Make the feed anew."""
    shutil.rmtree(feed, ignore_errors=True)
    feed.mkdir()
    layout(feed, pool, names)
    make_metadata(feed, program, *options)


def publish_both(
    controller: Controller, pool: Path, layout: Layout = folder, program: str = "0.17", *options: str
) -> None:
    """Make the feeds of both releases, and the site's own one as the previous release's."""
    publish(controller.feeds.previous_directory, pool, OLD, layout, program, *options)
    publish(controller.feeds.target_directory, pool, NEW, layout, program, *options)
    publish(controller.own_feed, pool, OLD, layout, program, *options)


def held(directory: Path) -> dict[str, bytes]:
    """Return path and content of everything in a directory but our own documents."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith("prestage_")
    }


def listed(feed: Path) -> dict[str, bytes]:
    """Return path and content of what the feed's metadata lists, and of the metadata."""
    read = read_feed(str(feed))
    paths = [package.path for package in read.packages] + [entry.path for entry in read.metadata]
    return {path: (feed / path).read_bytes() for path in sorted(paths)}


def test_every_layout_is_staged_once(controller: Controller, pool: Path, layout: Layout, program: str) -> None:
    """The site holds exactly the feed, links as files; a second prepare and a second run change nothing."""
    publish_both(controller, pool, layout, program)

    first, staged = controller.prepare(), controller.stage_all()
    second, again = controller.prepare(), controller.stage_all()

    assert listed(controller.feeds.target_directory) == held(controller.release)
    assert not any(path.is_symlink() for path in controller.release.rglob("*"))
    assert (True, True, False, False) == tuple(x["changed"] for x in (first, staged, second, again))
    assert not (controller.release / RECORD).exists()


def test_a_withdrawn_package_leaves_the_site(controller: Controller, pool: Path, layout: Layout, program: str) -> None:
    """What the feed no longer has is gone from the site afterwards, and what others put there is not."""
    publish_both(controller, pool, layout, program)
    controller.prepare()
    controller.stage_all()
    (controller.release / "notes.txt").write_text("of the operator")

    publish(controller.feeds.target_directory, pool, WITHOUT, layout, program)
    controller.prepare()
    controller.stage_all()

    assert listed(controller.feeds.target_directory) == {
        path: content for path, content in held(controller.release).items() if path != "notes.txt"
    }
    assert "of the operator" == (controller.release / "notes.txt").read_text()
    assert not [path for path in controller.release.rglob("*") if path.is_dir() and not list(path.iterdir())]


@pytest.mark.parametrize(("before", "after"), [(flat, folder), (folder, flat)])
def test_another_layout_takes_the_place_of_the_first(
    controller: Controller, pool: Path, before: Layout, after: Layout
) -> None:
    """A feed that was laid out anew leaves no package at its former place."""
    publish_both(controller, pool, before)
    controller.prepare()
    controller.stage_all()

    publish(controller.feeds.target_directory, pool, NEW, after, "0.17")
    controller.prepare()
    controller.stage_all()

    assert listed(controller.feeds.target_directory) == held(controller.release)


def test_what_a_broken_run_placed_is_withdrawn_too(controller: Controller, pool: Path) -> None:
    """A run that ended half-way leaves a record, by which a later one removes what was withdrawn meanwhile."""
    publish_both(controller, pool, flat)
    controller.prepare()
    controller.stage(origin="a", token=1)
    assert (controller.release / "withdrawn-1.rpm").exists()

    publish(controller.feeds.target_directory, pool, WITHOUT, folder, "0.17")
    controller.prepare()
    controller.stage_all(origin="a", token=2)

    assert listed(controller.feeds.target_directory) == held(controller.release)


def test_leftovers_in_a_complete_release_are_removed(controller: Controller, pool: Path) -> None:
    """A release that was complete with a withdrawn package at its top loses it in the next run, and stays complete."""
    publish_both(controller, pool, flat)
    controller.prepare()
    controller.stage_all()
    (controller.release / "leftover-1.rpm").write_text("of an earlier feed")

    again = controller.stage_all()

    assert again["changed"]
    assert listed(controller.feeds.target_directory) == held(controller.release)


@pytest.mark.parametrize("checksum", ["md5", "sha", "sha1", "sha224", "sha256", "sha384", "sha512"])
def test_every_checksum_is_verified(controller: Controller, pool: Path, checksum: str) -> None:
    """All checksums that createrepo_c writes are taken, for packages and metadata, and damage is found by them."""
    publish_both(controller, pool, folder, "0.17", "--checksum", checksum)
    controller.prepare()
    controller.stage_all()
    assert listed(controller.feeds.target_directory) == held(controller.release)

    victim = controller.feeds.target_directory / "Packages" / "new-1.rpm"
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.unlink()
    victim.write_bytes(content)
    shutil.rmtree(controller.prepared)

    with pytest.raises(PrestageError, match=r"Package Packages/new-1.rpm .* is damaged"):
        controller.prepare()
    assert not controller.prepared.exists()


@pytest.mark.parametrize("packed", ["gz", "bz2", "xz", "zstd"])
def test_every_compression_is_read(tmp_path: Path, pool: Path, packed: str) -> None:
    """All compressions that createrepo_c writes are read."""
    publish(tmp_path / "feed", pool, NEW, folder, "1.x", f"--general-compress-type={packed}")

    assert 4 == len(read_feed(str(tmp_path / "feed")).packages)


@pytest.mark.parametrize("keep_bytes", [0, 9, 40])
@pytest.mark.parametrize("packed", ["gz", "bz2", "xz", "zstd"])
def test_metadata_cut_short_is_malformed(tmp_path: Path, pool: Path, packed: str, keep_bytes: int) -> None:
    """Whatever the compression, content that ends too early is refused with the file's name."""
    feed = tmp_path / "feed"
    publish(feed, pool, NEW, folder, "1.x", f"--general-compress-type={packed}", "--simple-md-filenames")
    primary = next((feed / "repodata").glob("primary.xml.*"))
    primary.write_bytes(primary.read_bytes()[:keep_bytes])
    reseal(feed, primary)

    with pytest.raises(PrestageError, match=r"primary.xml.\w+ is malformed"):
        read_feed(str(feed))


def reseal(feed: Path, primary: Path) -> None:
    """Write repomd.xml for a primary file as it is now."""
    checksum = subprocess.run(["sha256sum", str(primary)], check=True, capture_output=True, text=True).stdout[:64]
    (feed / "repodata" / "repomd.xml").write_text(
        f'<repomd><data type="primary"><checksum type="sha256">{checksum}</checksum>'
        f'<location href="repodata/{primary.name}"/></data></repomd>'
    )


def test_zstd_needs_its_program(tmp_path: Path, pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program that unpacks it, zstd metadata is refused with what to install."""
    publish(tmp_path / "feed", pool, NEW, folder, "1.x")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PrestageError, match="Install the package zstd, or make the feed's metadata with"):
        read_feed(str(tmp_path / "feed"))


def test_paths_may_begin_with_a_dot_and_repeat(controller: Controller, pool: Path, program: str) -> None:
    """A list of packages for createrepo_c may name them as ./x and x, and twice; each is staged once."""
    feed = controller.feeds.target_directory
    names = [f"Packages/{name}" for name in NEW]
    (controller.root / "list").write_text("\n".join([*names, *(f"./{name}" for name in names), *names[:1]]) + "\n")
    publish_both(controller, pool)
    make_metadata(feed, program, "--pkglist", str(controller.root / "list"))

    controller.prepare()
    controller.stage_all()

    assert sorted(names) == sorted(package.path for package in read_feed(str(feed)).packages)
    assert listed(feed) == held(controller.release)


def test_a_reinstall_reads_every_layout(controller: Controller, pool: Path, layout: Layout, program: str) -> None:
    """A site that runs the target takes everything from its own feed, in whatever layout."""
    publish(controller.own_feed, pool, NEW, layout, program)

    controller.stage(site_version=controller.feeds.target, manifest="")
    again = controller.stage(site_version=controller.feeds.target, manifest="")

    assert listed(controller.own_feed) == held(controller.release)
    assert not again["changed"]


def test_a_set_of_wrong_sizes_never_counts(controller: Controller, pool: Path) -> None:
    """Metadata whose size differs from the file's makes no set: sites would refuse the file."""
    publish_both(controller, pool, folder, "0.17", "--general-compress-type=gz", "--simple-md-filenames")
    primary = controller.feeds.target_directory / "repodata" / "primary.xml.gz"
    subprocess.run(["gzip", "-d", str(primary)], check=True)
    plain = primary.with_suffix("")
    new = controller.feeds.target_directory / "Packages" / "new-1.rpm"
    plain.write_text(plain.read_text().replace(f'package="{new.stat().st_size}"', 'package="7"'))
    reseal(controller.feeds.target_directory, plain)

    with pytest.raises(PrestageError, match=r"it has \d+ bytes, the metadata says 7"):
        controller.prepare()
    assert not controller.prepared.exists()


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no hard link be made, as between file systems."""

    def refuse(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("ansible.module_utils.prestage.prepared_set.os.link", refuse)


def test_a_set_without_room_says_the_numbers(
    controller: Controller, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages that have to be copied are refused before they fill the controller's file system."""
    publish_both(controller, pool)
    refuse_links(monkeypatch)
    monkeypatch.setattr("ansible.module_utils.prestage.prepared_set.KEEP_FREE_BYTES", 1 << 60)

    with pytest.raises(PrestageError, match=r"Not enough space for the prepared packages in .* needed .* available"):
        controller.prepare()
    assert not controller.prepared.exists()


def test_a_set_of_copies_is_as_good(controller: Controller, pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no hard link can be made the set holds copies, and a second prepare changes nothing."""
    publish_both(controller, pool)
    refuse_links(monkeypatch)

    assert [True, False] == [controller.prepare()["changed"] for _ in range(2)]


def test_a_set_is_verified_where_links_cannot_be_made(
    controller: Controller, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that came out wrong makes no set."""
    publish_both(controller, pool)
    refuse_links(monkeypatch)

    def truncate(source: str, target: str) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:-1])

    monkeypatch.setattr("ansible.module_utils.prestage.prepared_set.shutil.copyfile", truncate)

    with pytest.raises(PrestageError, match="was damaged while it was copied"):
        controller.prepare()
    assert not controller.prepared.exists()


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        (["ostree_repo/config"], "an OSTree feed"),
        (["config", "objects/x", "refs/x"], "an OSTree feed"),
        (["dists/bullseye/Release", "pool/a.deb"], "a Debian package feed"),
        (["Packages.gz", "a.deb"], "a Debian package feed"),
        (["a.deb"], "a Debian package feed"),
    ],
)
def test_other_feeds_are_refused(tmp_path: Path, paths: list[str], kind: str) -> None:
    """A feed of another kind is refused with what is taken, and what serves it."""
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")

    with pytest.raises(PrestageError, match=f"is {kind}; these playbooks take rpm feeds .* PRESTAGER_PLAYBOOKS_DIR"):
        read_feed(str(tmp_path))


def test_a_feed_that_links_to_something_else_is_damaged(controller: Controller, pool: Path) -> None:
    """A link out of the feed gives the package that the metadata describes and nothing else."""
    publish_both(controller, pool)
    package = controller.feeds.target_directory / "Packages" / "new-1.rpm"
    secret = controller.root / "secret"
    secret.write_text("x" * package.stat().st_size)
    package.unlink()
    package.symlink_to(secret)

    with pytest.raises(PrestageError, match=r"Package Packages/new-1.rpm .* is damaged"):
        controller.prepare()
