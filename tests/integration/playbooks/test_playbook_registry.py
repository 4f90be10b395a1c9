"""docker:// images: fetched by skopeo from a real registry on loopback."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.images import build_image
from tests.integration.playbooks.playbook_site import PlaybookSite
from tests.support.waiting import PATIENCE_S

START_DEADLINE_S = PATIENCE_S
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Return host:port of an empty registry that forgets everything afterwards."""
    for program in ("docker-registry", "skopeo"):
        if shutil.which(program) is None:
            pytest.fail(f"This test needs a package of this machine: apt-get install {program}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = tmp_path / "registry.json"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": address}}))
    log = (tmp_path / "registry.log").open("w")
    with log, subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log) as process:
        try:
            _wait_for(address, process)
            yield address
        finally:
            process.kill()


def test_docker_images_are_fetched_verified_and_kept(site: PlaybookSite, registry: str) -> None:
    """Tagged, pinned and multi-platform images arrive by digest; a second run does not ask the registry again."""
    first = _push(site, registry, "stx/app-one", "v1")
    second = _push(site, registry, "stx/app-two", "v2")
    index = _push_index(registry, "stx/app-two", second)
    _list(
        site,
        f"docker://{registry}/stx/app-one:v1",
        f"docker://{registry}/stx/app-two:v2@{second}",
        f"docker://{registry}/stx/app-two:all@{index}",
    )
    site.host_vars["prestage_registry_tls_verify"] = False

    staged = site.run("prestage_images.yml").require_success()
    shutil.rmtree(site.root / "registry")
    again = site.run("prestage_images.yml").require_success()

    marker = json.loads((site.release / "prestage_images_complete.json").read_text())
    assert [first, second, second] == [image["digest"] for image in marker["images"]]
    assert (3, 0) == (staged.stats["image_count"], again.changed)
    with tarfile.open(site.release / "prestage_images.tar") as archive:
        assert {f"blobs/sha256/{digest[7:]}" for digest in (first, second)} < set(archive.getnames())


def test_images_that_differ_by_digest_only_are_staged_under_their_digests(site: PlaybookSite, registry: str) -> None:
    """Each is called repository@digest in the marker and in the archive, where skopeo finds it by that name."""
    digests = [_push(site, registry, "stx/app", "v1", content=content) for content in ("one", "two")]
    _list(
        site,
        *(f"{registry}/stx/app@{digest}" for digest in digests),
        f"{registry}/stx/app:v1",
        f"{registry}/stx/app:v1@{digests[1]}",
    )
    site.host_vars["prestage_registry_tls_verify"] = False

    site.run("prestage_images.yml").require_success()

    marker = json.loads((site.release / "prestage_images_complete.json").read_text())
    names = [f"{registry}/stx/app@{digest}" for digest in digests] + [f"{registry}/stx/app:v1"]
    assert list(zip(names, [*digests, digests[1]], strict=True)) == [(i["name"], i["digest"]) for i in marker["images"]]
    for name, digest in zip(names, [*digests, digests[1]], strict=True):
        archive = f"oci-archive:{site.release}/prestage_images.tar:{name}"
        raw = subprocess.run(["skopeo", "inspect", "--raw", archive], check=True, capture_output=True).stdout
        assert digest == f"sha256:{hashlib.sha256(raw).hexdigest()}"


def test_skopeo_finds_images_of_docker_in_the_archive_by_name(site: PlaybookSite, registry: str) -> None:
    """An image with Docker's media types is read from the site's archive by its name, and keeps its digest."""
    _push(site, registry, "stx/app", "v1", "--format=v2s2")
    name = f"{registry}/stx/app:v1"
    _list(site, name)
    site.host_vars["prestage_registry_tls_verify"] = False

    site.run("prestage_images.yml").require_success()

    marker = json.loads((site.release / "prestage_images_complete.json").read_text())
    source = ["inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{name}"]
    assert marker["images"] == [{"name": name, "digest": _skopeo(*source)}]
    archive = f"oci-archive:{site.release}/prestage_images.tar:{name}"
    _skopeo("copy", archive, f"dir:{site.root}/read")
    manifest = (site.root / "read" / "manifest.json").read_bytes()
    assert marker["images"][0]["digest"] == f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def test_an_image_that_the_registry_does_not_have_fails(site: PlaybookSite, registry: str) -> None:
    """A missing image, or one whose pinned digest the registry does not have, names the image and what skopeo said."""
    _list(site, f"docker://{registry}/stx/none:v1")
    site.host_vars["prestage_registry_tls_verify"] = False

    run = site.run("prestage_images.yml")

    assert f"Image {registry}/stx/none:v1 could not be fetched by this site: " in run.failures[0]
    assert "manifest unknown" in run.failures[0]
    assert "level=" not in run.failures[0]
    assert not (site.release / "prestage_images_complete.json").exists()


def _push(site: PlaybookSite, registry: str, name: str, tag: str, *options: str, content: str = "") -> str:
    image = build_image(site.root / "push" / name.replace("/", "-"), content or name.replace("/", "-"))
    target = f"docker://{registry}/{name}:{tag}"
    _skopeo("copy", "--quiet", "--dest-tls-verify=false", *options, f"oci:{image.path}:1.0", target)
    return image.digest


def _skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _push_index(registry: str, name: str, digest: str) -> str:
    """Put an index under the tag `all` whose manifest for this machine's platform is `digest`; return its digest."""
    with urllib.request.urlopen(_request(registry, name, digest, MANIFEST)) as answer:
        size = len(answer.read())
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    item = {
        "mediaType": MANIFEST,
        "digest": digest,
        "size": size,
        "platform": {"os": "linux", "architecture": architecture},
    }
    content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [item]}).encode()
    request = _request(registry, name, "all", INDEX)
    request.method, request.data = "PUT", content
    request.add_header("Content-Type", INDEX)
    urllib.request.urlopen(request).close()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _request(registry: str, name: str, reference: str, media_type: str) -> urllib.request.Request:
    return urllib.request.Request(f"http://{registry}/v2/{name}/manifests/{reference}", headers={"Accept": media_type})


def _list(site: PlaybookSite, *lines: str) -> None:
    path = site.root / "images.txt"
    path.write_text("\n".join(lines) + "\n")
    site.extra_vars["image_list_file"] = str(path)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex((host, int(port))) == 0:
                return
    pytest.fail(f"The registry did not start on {address}.")
