"""What names, sizes, links and documents of somebody hostile cannot do, on a site and on the controller."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.archive import KEEP_FREE_BYTES, KEEP_S, Part, pack
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.feed import read_feed
from ansible.module_utils.prestage.files import create, open_regular, require_inside
from ansible.module_utils.prestage.image_list import MOST_IMAGES, parse_list
from ansible.module_utils.prestage.image_sources import source_from_dict
from ansible.module_utils.prestage.incoming import incoming_path, remove_incoming
from ansible.module_utils.prestage.lock import SiteLock
from ansible.module_utils.prestage.lock_record import Caller, LockRecord, refusal
from ansible.module_utils.prestage.manifest import parse_manifest
from ansible.module_utils.prestage.oci_layout import Layout
from ansible.module_utils.prestage.prepared_set import set_directory
from ansible.module_utils.prestage.rpm_metadata import BoundedXml
from ansible.module_utils.prestage.safe_names import LARGEST_SIZE, SHA256, relative_path, release_number

from demo.feed import write_metadata
from tests.unit.playbooks.playbook_modules import LOCK_PARAMS, Controller, load_work

HEX = "a" * 64
RUN = "0123456789abcdef" * 2
OLD = time.time() - 2 * KEEP_S


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of somebody else, with one file."""
    directory = tmp_path / "victim"
    directory.mkdir()
    (directory / "file").write_text("untouched")
    return directory


def part(name: str = "a", size: int = 3) -> Part:
    """Return a part with the content `abc`."""
    return Part(name, hashlib.sha256(b"abc").hexdigest(), size, lambda: io.BytesIO(b"abc"), "")


def read_all(stream: BoundedXml, size: int) -> None:
    """Read a stream to its end, `size` bytes at once."""
    while stream.read(size):
        pass


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            *("", ".", "..", "../a", "a/../b", "a/..", "/a", "a//b", "a/", ".hidden", "a/.hidden", "a\\b"),
            *("a\n", "a\nb", "\na", "a/b\n", "a\0", "a\tb", "a\x7f", "\ud800"),
            *("a" * 256, "ä" * 128, "/".join(["a" * 200] * 30), None, 7, ["a"]),
        ],
    )
    def test_a_file_name_stays_in_its_directory(self, name: Any) -> None:
        """Absolute, climbing, hidden, unprintable and overlong names are refused, also with a line break at the end."""
        with pytest.raises(PrestageError, match="file name") as refused:
            relative_path(name, "The list")

        assert len(str(refused.value)) < 400
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("release", ["23.09\n", "23", "23.09/..", "../23.09", "9" * 5000 + ".1", "23.09\0"])
    def test_a_release_is_a_number(self, release: str) -> None:
        """Only MM.mm and the like become part of a path."""
        with pytest.raises(PrestageError, match="is not a software version"):
            release_number(release)
        with pytest.raises(PrestageError, match="is not a software version"):
            set_directory("/shared", release)

    def test_a_digest_ends_where_it_ends(self) -> None:
        """A digest with a line break behind it is none."""
        assert SHA256.match(HEX)
        assert not SHA256.match(HEX + "\n")

    def test_a_list_names_a_bounded_number_of_images(self) -> None:
        """A list without end is refused."""
        lines = "\n".join(f"docker://registry.local/a:{number}" for number in range(MOST_IMAGES + 1))

        with pytest.raises(PrestageError, match="names more than 10000 images"):
            parse_list(lines, "L")


class TestSizes:
    @pytest.mark.parametrize("size", [-1, LARGEST_SIZE + 1, 10**400, True, 1.5, "7", None])
    def test_a_size_is_a_number_of_bytes(self, controller: Controller, size: Any) -> None:
        """No manifest and no blob may have a size that no disk has."""
        controller.prepare()
        with pytest.raises(PrestageError, match="is no size"):
            parse_manifest(controller.edit_manifest(size=size), "M")
        blob = {"sha256": HEX, "size": size}
        image = {"name": "web", "media_type": "", "manifest": blob, "blobs": [blob]}
        reference = {"transport": "oci", "location": "web", "ref": "", "pinned": ""}
        with pytest.raises(PrestageError, match="malformed descriptor"):
            source_from_dict({"reference": reference, "path": "", "image": image})

    def test_blobs_that_travel_are_checked(self) -> None:
        """The name of a blob is its SHA-256, whoever sent the image's description."""
        image = {"name": "web", "media_type": "", "manifest": {}, "blobs": [{"sha256": "../x", "size": 1}]}
        reference = {"transport": "oci", "location": "web", "ref": "", "pinned": ""}
        with pytest.raises(PrestageError, match="malformed descriptor"):
            source_from_dict({"reference": reference, "path": "", "image": image})

    def test_deep_documents_are_malformed(self) -> None:
        """A document that is nested without end is told to be malformed."""
        with pytest.raises(PrestageError, match="malformed"):
            parse_manifest("[" * 200_000, "M")

    def test_an_archive_leaves_room(self, tmp_path: Path) -> None:
        """An archive that would fill the controller's file system is not begun, and the sentence says so."""
        free = os.statvfs(tmp_path)
        too_much = free.f_bavail * free.f_frsize - KEEP_FREE_BYTES + 2**30
        with pytest.raises(PrestageError, match="Not enough space for the archive for the site"):
            pack([part(size=too_much)], str(tmp_path / "archives"))

        assert [] == list((tmp_path / "archives").iterdir())

    def test_metadata_that_unpacks_without_end_is_refused(self, tmp_path: Path) -> None:
        """What is unpacked is bounded, before a parser has it in memory."""
        bomb = tmp_path / "primary.xml.gz"
        with gzip.open(bomb, "wb") as sink:
            sink.write(b"<a>" + b" " * 2_000_000)
        with gzip.open(bomb) as stream, pytest.raises(PrestageError, match="too large when it is unpacked"):
            read_all(BoundedXml(stream, str(bomb), limit_bytes=1_000_000), 65536)

    @pytest.mark.parametrize("size", [1, 7, 65536])
    def test_metadata_with_entities_is_refused(self, tmp_path: Path, size: int) -> None:
        """A document type, whose entities could unfold without end, is found wherever a piece ends."""
        (tmp_path / "x").write_bytes(b"<?xml version='1.0'?>  <!DOCTYPE a [<!ENTITY b 'c'>]><a/>")
        with (tmp_path / "x").open("rb") as stream, pytest.raises(PrestageError, match="has a document type"):
            read_all(BoundedXml(stream, "x"), size)


class TestLockRecords:
    @pytest.mark.parametrize(
        "until", ["NaN", "Infinity", "-Infinity", "1e300", "-1e300", '"nan"', "null", "[]", "9" * 5000]
    )
    def test_a_time_beyond_every_calendar_locks_nobody_out(self, until: str) -> None:
        """A record whose time makes no sense counts as empty, and never breaks the module."""
        text = f'{{"holder": {{"origin": "x", "token": 1, "run": "r", "until": {until}}}, "newest": {{}}}}'
        record = LockRecord.parse(text)

        assert record.holder is None
        json.dumps(record.as_dict())

    @pytest.mark.parametrize("token", ["Infinity", "NaN", "-1", "1e400", "9" * 5000, '"x"', "[]", str(2**70)])
    def test_a_token_that_no_controller_has_counts_as_none(self, token: str) -> None:
        """So a site cannot be fenced off for ever by a number that never comes."""
        assert {} == LockRecord.parse(f'{{"holder": null, "newest": {{"a": {token}}}}}').newest

    def test_deep_records_count_as_empty(self) -> None:
        """A record that is nested without end is unreadable."""
        assert LockRecord.parse("[" * 200_000).holder is None

    def test_nobody_holds_a_site_for_years(self) -> None:
        """A hold of more than 30 days is not waited for."""
        text = '{"holder": {"origin": "x", "token": 1, "run": "r", "until": 5000000000}, "newest": {}}'

        assert refusal(LockRecord.parse(text), Caller("b", 1, ""), 1_700_000_000) is None
        assert refusal(LockRecord.parse(text), Caller("b", 1, ""), 4_999_000_000) is not None


class TestLinks:
    @pytest.mark.parametrize("name", [".prestage.lock", ".prestage-incoming", "23.09", "23.09/Packages"])
    def test_a_link_in_the_sites_directory_is_not_followed(
        self, controller: Controller, victim: Path, name: str
    ) -> None:
        """What was put into the place of our files and directories is refused; nothing behind it changes."""
        controller.prepare()
        place = controller.backup / name
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(victim / "file" if name.endswith("lock") else victim)
        with pytest.raises(PrestageError, match="is a symbolic link"):
            controller.stage_all()

        assert ["file"] == [path.name for path in victim.iterdir()]
        assert "untouched" == (victim / "file").read_text()

    def test_a_link_in_place_of_a_new_file_is_replaced(self, tmp_path: Path, victim: Path) -> None:
        """A file is made new, never written through a link."""
        (tmp_path / "new").symlink_to(victim / "file")
        with create(str(tmp_path / "new")) as sink:
            sink.write(b"content")

        assert "untouched" == (victim / "file").read_text()
        assert not (tmp_path / "new").is_symlink()

    @pytest.mark.parametrize("name", ["repomd.xml.asc", "repomd.xml", "primary.xml.gz"])
    def test_a_link_out_of_a_feed_is_refused(self, controller: Controller, victim: Path, name: str) -> None:
        """Metadata of a feed is read in the feed only: it travels to every site."""
        repodata = controller.feeds.target_directory / "repodata"
        place = next(repodata.glob(f"*{name}"), repodata / name)
        content = place.read_bytes() if place.exists() else b"secret"
        place.unlink(missing_ok=True)
        (victim / "file").write_bytes(content)
        place.symlink_to(victim / "file")
        with pytest.raises(PrestageError, match="is a link that leads out of it"):
            controller.prepare()

    def test_a_link_inside_a_feed_is_followed(self, tmp_path: Path) -> None:
        """Feeds may share a file under two names, and may lie behind a link themselves."""
        (tmp_path / "feed").mkdir()
        (tmp_path / "feed" / "a").write_text("a")
        (tmp_path / "feed" / "b").symlink_to("a")
        (tmp_path / "link").symlink_to("feed")

        assert require_inside(str(tmp_path / "link"), "b") == str(tmp_path / "link" / "b")

    def test_a_link_out_of_a_layout_is_refused(self, tmp_path: Path, victim: Path) -> None:
        """Blobs are read in the layout only."""
        blobs = tmp_path / "layout" / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (blobs / HEX).symlink_to(victim / "file")
        with (
            pytest.raises(PrestageError, match="is a link that leads out of it"),
            Layout(str(tmp_path / "layout")).open_blob(HEX),
        ):
            pass

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
    def test_what_is_no_file_is_not_read(self, tmp_path: Path, make: Any) -> None:
        """A pipe would be read for ever; it is refused at once, as devices and directories are."""
        make(tmp_path / "x")
        with pytest.raises(PrestageError, match="is not a regular file"):
            open_regular(str(tmp_path / "x"))
        with pytest.raises(PrestageError, match="is not a regular file"):
            open_regular("/dev/zero")

    def test_a_pipe_in_a_feed_does_not_stop_a_prepare(self, controller: Controller) -> None:
        """A new package that is a pipe is found missing."""
        known = {path.name for path in (controller.feeds.previous_directory / "Packages").iterdir()}
        packages = (controller.feeds.target_directory / "Packages").iterdir()
        package = next(path for path in packages if path.name not in known)
        package.unlink()
        os.mkfifo(package)
        with pytest.raises(PrestageError, match="is missing"):
            controller.prepare()


class TestRemoval:
    def test_only_old_archives_of_ours_are_removed(self, tmp_path: Path, victim: Path) -> None:
        """Files with other names, young ones, directories and links stay when archives are cleaned up."""
        names = ["backup.tar", "x.tar", f"{HEX}.tar.gz", ".packing-", f"x{HEX}.tar", f"{HEX}\n.tar", "B" * 64 + ".tar"]
        gone = [f"{'b' * 64}.tar", ".packing-abcd_123"]
        for name in [*names, *gone]:
            (tmp_path / name).write_text("x")
            os.utime(tmp_path / name, (OLD, OLD))
        (tmp_path / f"{'c' * 64}.tar").mkdir()
        os.utime(tmp_path / f"{'c' * 64}.tar", (OLD, OLD))
        os.utime(victim / "file", (OLD, OLD))
        (tmp_path / f"{'d' * 64}.tar").symlink_to(victim / "file")
        pack([part()], str(tmp_path))

        assert not [name for name in gone if (tmp_path / name).exists()]
        assert all((tmp_path / name).exists() for name in [*names, f"{'c' * 64}.tar", f"{'d' * 64}.tar"])

    def test_only_transfers_of_ours_are_removed(self, tmp_path: Path) -> None:
        """What others put beside the archives of runs stays, and so does the archive of this run."""
        path = Path(incoming_path(str(tmp_path), RUN))
        other = path.with_name("f" * 32 + ".tar")
        broken = path.with_name(".ansible_tmpa_b1c2" + RUN + ".tar")
        for file in (path, other, broken, path.with_name("backup.tar")):
            file.write_text("x")
        remove_incoming(str(tmp_path), keep=RUN)

        assert {path.name, "backup.tar"} == {file.name for file in path.parent.iterdir()}

    def test_an_archive_in_place_of_a_link_is_made_new(self, tmp_path: Path, victim: Path) -> None:
        """A link with the name of an archive is neither used nor followed."""
        path = Path(pack([part()], str(tmp_path / "archives"))["archive"])
        path.unlink()
        path.symlink_to(victim / "file")
        pack([part()], str(tmp_path / "archives"))

        assert not path.is_symlink()
        assert "untouched" == (victim / "file").read_text()


class TestArchives:
    def test_a_part_is_packed_once(self, tmp_path: Path) -> None:
        """However often a name is asked for, the archive holds it once."""
        with tarfile.open(pack([part()] * 1000, str(tmp_path / "archives"))["archive"]) as archive:
            assert ["a"] == archive.getnames()

    @pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    @pytest.mark.parametrize("name", ["known", "../known", "/known"])
    def test_only_files_are_unpacked(self, controller: Controller, victim: Path, kind: bytes, name: str) -> None:
        """Links, devices and pipes in an archive are refused, also under the name of a file that is wanted."""
        controller.prepare()
        site = controller.stage()
        member = tarfile.TarInfo(name.replace("known", site["missing"][0]))
        member.type, member.linkname = kind, str(victim / "file")
        with tarfile.open(site["upload"], "w") as archive:
            archive.addfile(member)
        with pytest.raises(PrestageError, match="unexpected file"):
            controller.stage(run=site["run"], archive=site["upload"])

        assert "untouched" == (victim / "file").read_text()

    def test_an_archive_of_images_has_an_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Members without number, or of a negative size, are refused instead of being read for ever."""
        path = tmp_path / "images.tar"
        with tarfile.open(path, "w") as archive:
            for number in range(3):
                archive.addfile(tarfile.TarInfo(f"member{number}"))
        monkeypatch.setattr("ansible.module_utils.prestage.layout_files.MOST_MEMBERS", 2)
        with pytest.raises(PrestageError, match="members without end"):
            Layout(str(path)).resolve("x", "")
        member = tarfile.TarInfo("index.json")
        member.size = -512
        path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        with pytest.raises(PrestageError, match=r"images\.tar"):
            Layout(str(path)).resolve("x", "")

    def test_links_of_an_archive_that_lead_to_each_other_are_no_file(self, tmp_path: Path) -> None:
        """A loop of links, and a link out of the archive, count as missing."""
        for target in ("index.json", "../../../../etc/hostname", "/etc/hostname"):
            member = tarfile.TarInfo("index.json")
            member.type, member.linkname = tarfile.SYMTYPE, target
            with tarfile.open(tmp_path / "images.tar", "w") as archive:
                archive.addfile(member)
            with pytest.raises(PrestageError, match=r"index\.json is missing"):
                Layout(str(tmp_path / "images.tar")).resolve("x", "")

    @pytest.mark.parametrize("blob", ["", "x", HEX + "\n", "../" + HEX, HEX.upper()])
    def test_a_blob_is_asked_for_by_its_digest(self, tmp_path: Path, blob: str) -> None:
        """What is no SHA-256 is refused before anything is opened."""
        params = {"sources": [], "blobs": [blob], "archive_directory": str(tmp_path / "archives")}
        with pytest.raises(PrestageError, match="which is no SHA-256"):
            load_work("prestage_pack_blobs")(params)

        assert not (tmp_path / "archives").exists()


def test_a_list_of_packages_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed has a bounded number of packages."""
    monkeypatch.setattr("ansible.module_utils.prestage.feed.MOST_FILES", 2)
    controller = Controller(tmp_path)
    with pytest.raises(PrestageError, match="lists more than 2 packages"):
        read_feed(str(controller.feeds.target_directory))
    write_metadata(controller.feeds.target_directory, [])

    assert [] == read_feed(str(controller.feeds.target_directory)).packages


def test_a_locked_site_writes_its_hold_within_bounds(tmp_path: Path) -> None:
    """A transfer of any size reserves the site for 30 days at most."""
    with SiteLock({**LOCK_PARAMS, "backup_dir": str(tmp_path), "origin": "a", "token": 1}) as lock:
        lock.renew(extra_s=1e18)
        until = json.loads((tmp_path / ".prestage.lock").read_text())["holder"]["until"]

    assert until - time.time() < 31 * 24 * 3600
