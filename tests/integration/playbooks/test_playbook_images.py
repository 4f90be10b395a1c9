"""The images of a release, by the real playbook over the local connection."""

from __future__ import annotations

import json
import tarfile

import pytest

from demo.images import DemoImages, build_images, corrupt_copy
from tests.integration.playbooks.playbook_site import PlaybookSite, tree


@pytest.fixture
def images(site: PlaybookSite) -> DemoImages:
    """Return three layouts on the controller and their list, which the site is told to use."""
    built = build_images(site.root / "deploy")
    site.extra_vars["image_list_file"] = str(built.list_file)
    return built


def test_first_run_stages_the_images_and_the_second_changes_nothing(site: PlaybookSite, images: DemoImages) -> None:
    """Every image of the list ends in one archive with its digest in the marker; a second run fetches nothing."""
    first = site.run("prestage_images.yml").require_success()
    staged = tree(site.release)
    second = site.run("prestage_images.yml").require_success()

    marker = json.loads((site.release / "prestage_images_complete.json").read_text())
    with tarfile.open(site.release / "prestage_images.tar") as archive:
        index = json.loads(_member(archive, "index.json"))
    wanted = [image.digest for image in images.images]
    assert wanted == [image["digest"] for image in marker["images"]]
    assert wanted == [manifest["digest"] for manifest in index["manifests"]]
    planned = first.results["Find out how much there is to fetch"]["prestage_transfer_bytes"]
    assert sum(path.stat().st_size for path in images.list_file.parent.rglob("blobs/sha256/*")) >= planned > 0
    assert ("23.09", 3) == (first.stats["prestaged_release"], first.stats["image_count"])
    assert 0 == second.changed
    assert staged == tree(site.release)
    assert {"prestage_images.tar", "prestage_images_complete.json"} == set(staged)


def test_damaged_layer_fails_and_marks_nothing(site: PlaybookSite, images: DemoImages) -> None:
    """A blob that is not its digest stops the run with the image's name; no archive and no marker appear."""
    bad = corrupt_copy(images.images[1], images.list_file.parent / "images" / "bad")
    images.list_file.write_text(f"oci:images/{bad.path.name}:1.0\n")

    run = site.run("prestage_images.yml")

    assert 1 == len(run.failures)
    assert "is damaged" in run.failures[0]
    assert "image bad:1.0" in run.failures[0]
    assert not (site.release / "prestage_images.tar").exists()
    assert not (site.release / "prestage_images_complete.json").exists()
    assert json.loads((site.backup / ".prestage.lock").read_text())["holder"] is None


def test_without_a_list_the_site_uses_its_own(site: PlaybookSite) -> None:
    """A reinstall gets no list: the site's own list and layouts are used, and nothing travels."""
    build_images(site.backup)

    run = site.run("prestage_images.yml").require_success()

    assert 3 == run.stats["image_count"]
    assert not (site.root / "shared").exists()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()
