"""What can go wrong with images: each fault has its own sentence, and nothing is marked complete."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.image_list import Reference, parse_list
from ansible.module_utils.prestage.oci_layout import Layout

from demo.images import DemoImages, build_images, corrupt_copy
from tests.unit.playbooks.image_site import ImageSite

HEX = "a" * 64
MARKER = "23.09/prestage_images_complete.json"
ARCHIVE = "23.09/prestage_images.tar"


def layout_bytes(images: DemoImages) -> int:
    """Return the size of all blobs of the layouts, each once."""
    blobs = {path.name: path.stat().st_size for path in images.list_file.parent.rglob("blobs/sha256/*")}
    return sum(blobs.values())


@pytest.fixture
def images(tmp_path: Path) -> ImageSite:
    """Return a controller with three images."""
    return ImageSite(tmp_path)


def test_a_plan_announces_the_bytes_and_fetches_nothing(images: ImageSite) -> None:
    """Before images are fetched it is known how much travels; the same sources are taken then, and the site is held."""
    plan = images.stage(sources=images.sources(), plan=True)

    assert layout_bytes(images.images) == plan["prestage_transfer_bytes"]
    assert (False, False, []) == (plan["changed"], plan["released"], plan["missing"])
    assert images.sources() == plan["sources"]
    assert not (images.backup / "23.09").exists()
    assert images.stage(sources=plan["sources"], run=plan["run"])["missing"]


def test_a_plan_of_a_complete_site_is_its_end(images: ImageSite) -> None:
    """A site that has all images answers a plan with its figures, and is free."""
    images.stage_all()

    plan = images.stage(sources=images.sources(), plan=True)

    assert (True, False, 3) == (plan["released"], plan["changed"], plan["stats"]["image_count"])
    assert "prestage_transfer_bytes" not in plan


def test_layouts_of_the_site_itself_do_not_travel(images: ImageSite) -> None:
    """What the site's own list names on the site moves no deadline."""
    build_images(images.backup)

    plan = images.stage(own_list_file=str(next(images.backup.glob("*.txt"))), plan=True)

    assert 0 == plan["prestage_transfer_bytes"]
    assert "sources" not in plan


def test_references_of_every_kind_are_read() -> None:
    """Blank lines, comments and repeated lines are skipped; a name without a scheme is a registry's."""
    text = f"""
    # comment
    docker://registry.local:9001/stx/app:v1   # behind
    docker.io/starlingx/keystone:master@sha256:{HEX}
    oci:images/web:1.0
    oci:images/web:1.0
    oci-archive:/srv/web.tar@sha256:{HEX}
    """

    assert [
        Reference("docker", "registry.local:9001/stx/app:v1", "", ""),
        Reference("docker", "docker.io/starlingx/keystone:master", "", f"sha256:{HEX}"),
        Reference("oci", "images/web", "1.0", ""),
        Reference("oci-archive", "/srv/web.tar", "", f"sha256:{HEX}"),
    ] == parse_list(text, "list")


@pytest.mark.parametrize(
    "line",
    [
        "two words",
        "docker://",
        "docker://host/UPPER:v1",
        "docker://host.local/app:v1@sha256:short",
        "oci:",
        "oci:/",
        "oci:../up",
        "oci:a/../../up",
        "oci:a//b",
        "oci:.hidden",
        "ftp://host/app",
        "host.local/app;rm -rf",
        "--tls-verify=false",
        "docker://-host.local/app",
        "host.local/app@sha512:" + HEX,
        "host.local/app:" + "t" * 129,
        "host.local/" + "a" * 256,
        HEX,
        "docker-daemon:app:1",
        "docker-archive:saved.tar:UPPER",
        "dir:images",
        "[2001:db8::2/app:v1",
    ],
)
def test_malformed_lines_are_refused(line: str) -> None:
    """A line that is no reference, or whose path climbs, is named with its number."""
    with pytest.raises(PrestageError, match=r"The image list L is malformed: line 2: "):
        parse_list(f"oci:good\n{line}\n", "L")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("starlingx/stx-app:stx.9.0-v1.0.0", "docker.io/starlingx/stx-app:stx.9.0-v1.0.0"),
        ("busybox:1.35", "docker.io/library/busybox:1.35"),
        ("docker://busybox", "docker.io/library/busybox:latest"),
        ("docker.io/busybox:1", "docker.io/library/busybox:1"),
        ("index.docker.io/starlingx/app:1", "docker.io/starlingx/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("Registry/app:1", "Registry/app:1"),
        ("registry:5000/app:1", "registry:5000/app:1"),
        ("[2001:db8::2]:9001/example/app:1.0", "[2001:db8::2]:9001/example/app:1.0"),
        ("docker://[::1]/app:1", "[::1]/app:1"),
        ("quay.io/example/app:1.0,kubernetes,extra", "quay.io/example/app:1.0"),
        (f"quay.io/example/app@sha256:{HEX}", f"quay.io/example/app@sha256:{HEX}"),
        (f"quay.io/example/app:1.0@sha256:{HEX}", "quay.io/example/app:1.0"),
        ("oci:images/web:1.0", "web:1.0"),
        ("oci-archive:images/web.tar:quay.io/example/app:1.0", "quay.io/example/app:1.0"),
        (f"oci-archive:web.tar:quay.io/example/app@sha256:{HEX}", f"quay.io/example/app@sha256:{HEX}"),
        ("docker-archive:saved.tar:busybox", "docker.io/library/busybox:latest"),
        ("docker-archive:saved.tar", "saved.tar"),
        (f"oci:images/web@sha256:{HEX}", f"web@sha256:{HEX}"),
    ],
)
def test_an_image_has_the_name_that_docker_gives_it(line: str, name: str) -> None:
    """Without a registry docker.io is meant; an image without a tag has its digest in its name."""
    assert [name] == [reference.name for reference in parse_list(line, "L")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_as_editors_and_starlingx_write_them_are_read(end: str) -> None:
    """A byte order mark, any line end, marker lines and fields after a comma change nothing."""
    lines = ["[platform]", "# comment", " [kubernetes] v1.24, static ", "quay.io/a/b:1,kubernetes", "", "c:2 , x"]

    names = [reference.name for reference in parse_list("\ufeff" + end.join(lines), "L")]

    assert ["quay.io/a/b:1", "docker.io/library/c:2"] == names


def test_digests_of_one_repository_are_several_images() -> None:
    """Images that differ by digest only are all staged, each under its digest, with and without a common tag."""
    other = "b" * 64
    bare = parse_list(f"q.io/a@sha256:{HEX}\nq.io/a@sha256:{other}", "L")
    tagged = parse_list(f"q.io/a:1@sha256:{HEX}\nq.io/a:1@sha256:{other}\nq.io/a:1", "L")

    names = [f"q.io/a@sha256:{HEX}", f"q.io/a@sha256:{other}"]
    assert names == [reference.name for reference in bare]
    assert [*names, "q.io/a:1"] == [reference.name for reference in tagged]


@pytest.mark.parametrize("order", [1, -1])
def test_a_tag_with_and_without_its_digest_is_one_image(order: int) -> None:
    """The digest holds for the tag, whichever line comes first."""
    lines = ["q.io/a:1", f"docker://q.io/a:1@sha256:{HEX}", "q.io/a:1"][::order]

    assert [Reference("docker", "q.io/a:1", "", f"sha256:{HEX}")] == parse_list("\n".join(lines), "L")


def test_all_faults_of_a_list_come_at_once() -> None:
    """An operator corrects a list in one go."""
    with pytest.raises(PrestageError, match=r"line 1: .*line 2: .*a different image is already called web"):
        parse_list("a b\n? ?\noci:x/web\noci:y/web", "L")


def test_an_empty_list_is_refused() -> None:
    """A list without images is a mistake, not a release without images."""
    with pytest.raises(PrestageError, match="names no image"):
        parse_list("# nothing\n\n", "L")


def test_a_missing_list_and_a_missing_layout_are_named(images: ImageSite) -> None:
    """What the operator forgot to put there is named with its place."""
    with pytest.raises(PrestageError, match=r"There is no image list .*list.txt"):
        images.stage()
    images.list_file.write_text("oci:images/none\n")
    with pytest.raises(PrestageError, match=r"There is no OCI image layout at .*images/none"):
        images.sources()


def test_a_pinned_digest_must_be_the_layouts(images: ImageSite) -> None:
    """A list that pins another digest than the layout holds stops before anything travels."""
    images.list_file.write_text(f"oci:images/keystone:1.0@sha256:{HEX}\n")

    with pytest.raises(PrestageError, match=f"the list pins sha256:{HEX}, but .* holds sha256:"):
        images.sources()


def test_a_ref_that_the_layout_lacks_is_named(images: ImageSite) -> None:
    """A layout of several images needs the right one."""
    images.list_file.write_text("oci:images/keystone:2.0\n")

    with pytest.raises(PrestageError, match=r"holds 0 images named '2.0', expected 1"):
        images.sources()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"manifests": [{"digest": "md5:1", "size": 1}]}', b"\xff"])
def test_a_malformed_index_is_refused(images: ImageSite, content: bytes) -> None:
    """An index that is no index, or names no SHA-256, is refused."""
    (images.images.images[0].path / "index.json").write_bytes(content)

    with pytest.raises(PrestageError, match="malformed"):
        Layout(str(images.images.images[0].path)).resolve("x", "")


def test_a_damaged_or_missing_manifest_is_found(images: ImageSite) -> None:
    """Manifests are verified before they are believed."""
    image = images.images.images[0]
    manifest = image.path / "blobs" / "sha256" / image.digest.removeprefix("sha256:")
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(PrestageError, match=r"Blob sha256:\w+ in .* is damaged"):
        images.sources()
    manifest.unlink()
    with pytest.raises(PrestageError, match=r"Blob sha256:\w+ is missing"):
        images.sources()


def test_a_damaged_layer_on_the_site_is_found(images: ImageSite) -> None:
    """The site's own layouts are verified as well, and nothing is marked."""
    own = build_images(images.backup)
    bad = corrupt_copy(own.images[0], images.backup / "images" / "bad")
    (images.backup / "list.txt").write_text(f"oci:images/{bad.path.name}\n")

    with pytest.raises(PrestageError, match=r"Blob sha256:\w+ in .*bad is damaged"):
        images.stage()

    assert not (images.backup / MARKER).exists()


def test_registry_images_need_skopeo(images: ImageSite) -> None:
    """Without skopeo the message names the image, what to install, and the way around."""
    images.list_file.write_text("docker://registry.local:9001/stx/app:v1\n")

    with pytest.raises(PrestageError, match=r"no-skopeo is not installed on this site, but docker://registry\.local"):
        images.stage(sources=images.sources(), skopeo="no-skopeo")


def test_no_space_and_quota_are_found_before_anything_is_written(images: ImageSite) -> None:
    """Images that do not fit fail with the numbers; no blob is written."""
    with pytest.raises(PrestageError, match="Not enough space for the images in"):
        images.stage(sources=images.sources(), min_free_bytes=1 << 60)
    with pytest.raises(PrestageError, match=r"the quota of this site is 4\.0 KiB") as refused:
        images.stage(sources=images.sources(), quota_bytes=4096)
    assert "space" == refused.value.failure_class

    assert [] == [path for path in images.backup.rglob("*") if path.is_file() and path.name != ".prestage.lock"]


def test_equal_images_make_equal_archives(images: ImageSite) -> None:
    """The archive depends on nothing but the images."""
    images.stage_all()
    first = (images.backup / ARCHIVE).read_bytes()
    shutil.rmtree(images.backup)
    images.backup.mkdir()
    images.stage_all()

    assert first == (images.backup / ARCHIVE).read_bytes()


def test_a_longer_list_brings_only_the_new_image(images: ImageSite) -> None:
    """Blobs of the earlier archive are used again."""
    lines = images.list_file.read_text().splitlines()
    images.list_file.write_text("\n".join(lines[:-1]))
    first = images.stage_all()
    images.list_file.write_text("\n".join(lines))
    second = images.stage_all()

    assert (6, 3) == (len(first["missing"]), len(second["missing"]))
    assert 3 == len(json.loads((images.backup / MARKER).read_text())["images"])


def test_an_archive_damaged_after_completion_is_made_again(images: ImageSite) -> None:
    """A marker is believed only while the archive has its checksum; intact blobs of it are kept."""
    images.stage_all()
    archive = images.backup / ARCHIVE
    good = archive.read_bytes()
    archive.write_bytes(good[:-20480] + b"x" * 20480)

    site = images.stage_all()

    assert 0 < len(site["missing"]) < len(images.images.images) * 3
    assert good == archive.read_bytes()


def test_oci_archives_are_read_like_layouts(images: ImageSite) -> None:
    """A layout in a tar file, with or without leading dots in its names, is the same image."""
    image = images.images.images[0]
    subprocess.run(["tar", "-C", str(image.path), "-cf", str(images.root / "deploy" / "web.tar"), "."], check=True)
    images.list_file.write_text(f"oci-archive:web.tar:1.0@{image.digest}\n")

    images.stage_all()

    with tarfile.open(images.backup / ARCHIVE) as archive:
        assert 5 == len(archive.getnames())


def test_a_file_that_is_no_archive_is_refused(images: ImageSite) -> None:
    """oci-archive: needs a tar file."""
    (images.root / "deploy" / "web.tar").write_bytes(b"no tar")
    images.list_file.write_text("oci-archive:web.tar\n")

    with pytest.raises(PrestageError, match="is no OCI archive"):
        images.sources()
