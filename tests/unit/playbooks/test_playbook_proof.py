"""The check of packages that an earlier run staged, and the digests by which they are known (decision 68)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.errors import PrestageError

from tests.unit.playbooks.playbook_modules import Controller, load_work

MARKER = "prestage_packages_complete.json"
MANIFEST = "prestage_packages_manifest.json"


def check(controller: Controller, digest: str) -> dict[str, Any]:
    """Look for packages with a digest."""
    params = {"release": "23.09", "backup_dir": str(controller.backup), "content_digest": digest}
    return load_work("prestage_check_packages")(params)


@pytest.fixture
def digest(controller: Controller) -> str:
    """Stage the packages and return the digest that was reported."""
    controller.prepare()
    return str(controller.stage_all()["stats"]["content_digest"])


def test_site_and_controller_say_the_same(controller: Controller, digest: str) -> None:
    """The preparation says the digest that the packages report; so it does for sites of the release itself."""
    params = {
        "release": "23.09",
        "previous": "23.09",
        "feed_root": str(controller.feeds.root),
        "shared_root": "/nonexistent",
        "wait_s": 0.0,
    }
    own = load_work("prestage_prepare")(params)

    assert digest == controller.prepare()["content_digest"] == own["content_digest"]
    assert (False, 0, 0) == (own["changed"], own["package_count"], own["bytes"])


def test_other_content_has_another_digest(controller: Controller, digest: str) -> None:
    """A feed with other content has another digest."""
    repomd = controller.feeds.target_directory / "repodata" / "repomd.xml"
    repomd.write_text(repomd.read_text().replace("<revision>1<", "<revision>2<"))

    assert digest != controller.prepare()["content_digest"]


def test_all_is_there(controller: Controller, digest: str) -> None:
    """A complete release passes, and nothing is changed."""
    before = sorted((path, path.stat().st_mtime_ns) for path in controller.release.rglob("*"))

    assert {"changed": False} == check(controller, digest)
    assert before == sorted((path, path.stat().st_mtime_ns) for path in controller.release.rglob("*"))


def remove_marker(release: Path) -> None:
    """Remove the marker."""
    (release / MARKER).unlink()


def remove_manifest(release: Path) -> None:
    """Remove the manifest."""
    (release / MANIFEST).unlink()


def remove_package(release: Path) -> None:
    """Remove a package."""
    next((release / "Packages").iterdir()).unlink()


def damage_package(release: Path) -> None:
    """Change a package without changing its size."""
    path = next((release / "Packages").iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)


def change_manifest(release: Path) -> None:
    """Leave out a file of the manifest."""
    content = json.loads((release / MANIFEST).read_text())
    content["files"].pop()
    (release / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (remove_marker, f"{MARKER} is missing"),
        (remove_manifest, f"{MANIFEST} is missing or malformed"),
        (remove_package, "is missing or damaged"),
        (damage_package, "is missing or damaged"),
        (change_manifest, "other packages were staged there since"),
    ],
)
def test_what_is_missing(controller: Controller, digest: str, harm: Any, text: str) -> None:
    """What is missing, damaged or other fails with that sentence and the class `proof`."""
    harm(controller.release)

    with pytest.raises(PrestageError) as caught:
        check(controller, digest)

    assert "The packages of release 23.09 that an earlier run staged are not on this site any more: " in str(
        caught.value
    )
    assert text in str(caught.value)
    assert "proof" == caught.value.failure_class


def test_another_digest(controller: Controller, digest: str) -> None:
    """Packages of another content are not what was asked for."""
    with pytest.raises(PrestageError, match="other packages were staged there since"):
        check(controller, digest[::-1])


def test_nothing_was_staged(controller: Controller) -> None:
    """A site without the release has not what was asked for."""
    with pytest.raises(PrestageError, match=f"{MARKER} is missing"):
        check(controller, "0" * 64)
