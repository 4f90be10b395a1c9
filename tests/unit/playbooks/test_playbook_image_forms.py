"""Images in many forms, side by side with `skopeo copy`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.image_list import parse_list
from ansible.module_utils.prestage.oci_layout import Image, Layout

from tests.unit.playbooks import image_forms as forms
from tests.unit.playbooks.image_forms import (
    Form,
    Workshop,
    archive,
    changed,
    index_of,
    layout,
    old_docker_save,
    own,
    sized,
    top,
)
from tests.unit.playbooks.image_site import ImageSite

ARCHIVE = "23.09/prestage_images.tar"
MARKER = "23.09/prestage_images_complete.json"
FULL_NAME = forms.FULL_NAME
MALFORMED = "is malformed: "

FORMS = {
    "plain": Form(build=layout(top())),
    "by its ref": Form(build=layout(top(), ref="1.0")),
    "full name": Form(build=layout(top(annotations={forms.REF_NAME: FULL_NAME}), ref=FULL_NAME)),
    "full name in an archive": Form(
        build=lambda shop: (
            top(annotations={forms.REF_NAME: FULL_NAME})(shop)  # type: ignore[func-returns-value]
            or archive("web.tar", ref=FULL_NAME)(shop)
        )
    ),
    "containerd's name": Form(build=layout(forms.containerd, ref=FULL_NAME), skopeo=False),
    "tag of two of containerd's names": Form(
        build=layout(forms.containerd, ref="1.0"), refusal=r"holds 2 images named '1.0'.*quay.io/example/other:1.0"
    ),
    "docker save": Form(build=forms.docker_save),
    "docker save before 25": Form(build=old_docker_save("docker-archive:{}")),
    "docker save before 25, by name": Form(build=old_docker_save(f"docker-archive:{{}}:{FULL_NAME}")),
    "docker save before 25, by a short name": Form(build=old_docker_save("docker-archive:{}:busybox:1")),
    "docker save before 25, untagged": Form(build=old_docker_save("docker-archive:{}", RepoTags=None)),
    "docker save before 25, with links": Form(build=old_docker_save("docker-archive:{}", links=True), skopeo=False),
    "docker save before 25, listed as OCI": Form(
        build=old_docker_save("oci-archive:{}"), skopeo=False, refusal="List it as docker-archive:"
    ),
    "docker save before 25, another name": Form(
        build=old_docker_save("docker-archive:{}:other:1"),
        skopeo=False,
        refusal="holds 0 images named 'docker.io/library/other:1'.*docker.io/library/busybox:1",
    ),
    "docker save before 25, compressed layers": Form(
        build=old_docker_save("docker-archive:{}", compress=True),
        refusal="layers in .* are compressed. Make an oci-archive",
    ),
    "docker save before 25, without a layer": Form(
        build=old_docker_save("docker-archive:{}", Layers=[]), skopeo=False, refusal="differ in their layers"
    ),
    "docker save before 25, without its layer's file": Form(
        build=old_docker_save("docker-archive:{}", "layer/layer.tar"), skopeo=False, refusal="layer.tar' is missing"
    ),
    "docker save before 25, without a configuration": Form(
        build=old_docker_save("docker-archive:{}", "config.json"), skopeo=False, refusal="config.json' is missing"
    ),
    "docker save before 25, without a list": Form(
        build=old_docker_save("docker-archive:{}", "manifest.json"), skopeo=False, refusal="manifest.json' is missing"
    ),
    "gzip": Form(build=archive("web.tar.gz", "-z")),
    "bzip2": Form(build=archive("web.tar.bz2", "-j")),
    "xz": Form(build=archive("web.tar.xz", "-J")),
    "zstd": Form(build=forms.zstd, refusal="compressed with zstd. Unpack it first: zstd -d"),
    "hard links": Form(build=forms.hard_links),
    "symbolic links": Form(build=forms.symbolic_links),
    "truncated": Form(build=forms.truncated("web.tar"), skopeo=False, refusal="damaged|is missing"),
    "truncated gzip": Form(build=forms.truncated("web.tgz", "-z"), skopeo=False, refusal="damaged|is missing"),
    "truncated bzip2": Form(build=forms.truncated("web.tbz", "-j"), skopeo=False, refusal="damaged|is missing"),
    "truncated xz": Form(build=forms.truncated("web.txz", "-J"), skopeo=False, refusal="damaged|is missing"),
    "pax headers": Form(build=archive("web.tar", "--format=posix")),
    "no media type": Form(build=layout(top(mediaType=None))),
    "another media type": Form(build=layout(top(mediaType="application/json")), skopeo=False),
    "Docker's media types": Form(build=layout(forms.docker_types)),
    "the same tag twice": Form(
        build=layout(lambda shop: shop.index["manifests"].append(dict(shop.top)), ref="1.0"),
    ),
    "the same image twice": Form(
        build=layout(lambda shop: shop.index["manifests"].append(dict(shop.top))), skopeo=False
    ),
    "two images with one tag": Form(
        build=layout(forms.second_image, ref="1.0"), refusal="holds 2 images named '1.0', expected 1"
    ),
    "two images and no ref": Form(
        build=layout(lambda shop: forms.second_image(shop, **{forms.REF_NAME: "2.0"})),
        skopeo=False,
        refusal=r"holds 2 images .*Its names are 1.0, 2.0",
    ),
    "an index": Form(build=layout(index_of(own, forms.attestation))),
    "Docker's list": Form(build=layout(index_of(own, media_type=forms.DOCKER_LIST))),
    "a sparse index": Form(build=layout(index_of({**forms.ABSENT, **forms.OTHER}, own))),
    "an index with a manifest without layers": Form(build=layout(index_of(forms.without_layers, own))),
    "an index without platforms": Form(build=layout(index_of(lambda shop: shop.plain))),
    "an index with a platform that is null": Form(
        build=layout(index_of(lambda shop: {**shop.plain, "platform": None}))
    ),
    "an index without this platform": Form(
        build=layout(index_of(forms.other)),
        skopeo=False,
        refusal="no complete variant for linux/.*it has linux/mips64le",
    ),
    "a sparse index without this platform": Form(
        build=layout(index_of({**forms.ABSENT, **forms.OWN}, forms.other)),
        skopeo=False,
        refusal="no complete variant for linux/",
    ),
    "an index of nothing": Form(build=layout(index_of()), skopeo=False, refusal="names no image"),
    "an index of absent images": Form(
        build=layout(index_of(forms.ABSENT)), skopeo=False, refusal="Blob sha256:a+ is missing"
    ),
    "an index in an index": Form(build=layout(forms.nested(2)), skopeo=False),
    "indexes without end": Form(build=layout(forms.nested(9)), skopeo=False, refusal="nested too deeply"),
    "manifest with a wrong size": Form(build=layout(top(size=7))),
    "manifest without a size": Form(build=layout(top(size=None))),
    "layer with a wrong size": Form(
        build=layout(sized("layer", 7)), refusal=r"Blob sha256:\w+ in .* has \d+ bytes, but its manifest says 7"
    ),
    "layer without a size": Form(build=layout(sized("layer", None)), refusal="has the size None"),
    "layer with a negative size": Form(build=layout(sized("layer", -1)), refusal="has the size -1"),
    "configuration with a wrong size": Form(
        build=layout(sized("config", 7)), skopeo=False, refusal="but its manifest says 7"
    ),
    "no file oci-layout": Form(build=layout(lambda shop: (shop.path / "oci-layout").unlink())),
    "no layers": Form(build=layout(changed(layers=None))),
    "layers that are a number": Form(build=layout(changed(layers=5)), skopeo=False, refusal=MALFORMED + "layers is 5"),
    "layers that are text": Form(build=layout(changed(layers=["x"])), skopeo=False, refusal="malformed descriptor"),
    "configuration that is null": Form(build=layout(changed(config=None)), refusal="malformed descriptor"),
    "manifests that are a number": Form(
        build=layout(forms.raw_manifest({"schemaVersion": 2, "manifests": 5}, forms.OCI_INDEX)),
        skopeo=False,
        refusal=MALFORMED + "manifests is 5",
    ),
    "an image that is an index too": Form(
        build=layout(changed(manifests=[])), skopeo=False, refusal="both an index and an image"
    ),
    "neither image nor index": Form(build=layout(forms.raw_manifest({})), refusal="neither an index nor an image"),
    "a manifest that is a list": Form(
        build=layout(forms.raw_manifest([])), skopeo=False, refusal="is not a JSON object"
    ),
    "schema 1": Form(
        build=layout(forms.raw_manifest({"schemaVersion": 1, "fsLayers": []})),
        skopeo=False,
        refusal="Docker's schema 1",
    ),
    "an image that is called an index": Form(
        build=layout(top(mediaType=forms.OCI_INDEX)), skopeo=False, refusal="is an image, but its media type is"
    ),
    "MD5": Form(build=layout(top(digest="md5:1")), skopeo=False, refusal="Only SHA-256 is known"),
    "a byte order mark": Form(build=forms.byte_order_mark, skopeo=False),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_skopeo_takes_is_staged_or_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    """A staged image is for skopeo the same as its source; a refusal names the image and the reason."""
    form, site = FORMS[name], ImageSite(tmp_path)
    line = form.build(Workshop(tmp_path))
    site.list_file.write_text(line + "\n")
    assert form.skopeo == _copy(line, tmp_path / "theirs")

    if form.refusal:
        with pytest.raises(PrestageError, match=form.refusal) as refused:
            site.stage_all()
        assert f"Image {parse_list(line, 'L')[0].name}" in str(refused.value)
        assert not (site.backup / ARCHIVE).exists()
        return
    site.stage_all()
    image = parse_list(line, "L")[0].name
    if form.skopeo:
        assert _copy(f"oci-archive:{site.backup / ARCHIVE}:{image}", tmp_path / "ours")
        # Archives of Docker have no manifest; skopeo makes another one.
        left_out = "manifest.json" if line.startswith("docker-archive:") else ""
        assert _content(tmp_path / "theirs", left_out) == _content(tmp_path / "ours", left_out)
    Layout(str(site.backup / ARCHIVE)).resolve(image, image)


def test_our_own_archive_is_a_source_of_other_sites(tmp_path: Path) -> None:
    """What one site has staged stages another one under the same whole names, with tag or digest, OCI's or Docker's."""
    site, shop = ImageSite(tmp_path), Workshop(tmp_path)
    forms.docker_types(shop)
    digest = str(shop.top["digest"])
    shop.top["annotations"] = {forms.REF_NAME: f"quay.io/example/docker@{digest}"}
    forms.second_image(shop, **{forms.REF_NAME: FULL_NAME})
    shop.save()
    names = [f"quay.io/example/docker@{digest}", FULL_NAME]
    site.list_file.write_text("".join(f"oci:{shop.path}:{name}\n" for name in names))
    site.stage_all()
    first, marker = shutil.move(site.backup / ARCHIVE, tmp_path / "first.tar"), _marker(site)
    content = first.read_bytes()
    shutil.rmtree(site.backup)
    site.backup.mkdir()
    site.list_file.write_text("".join(f"oci-archive:{first}:{name}\n" for name in names))

    site.stage_all()

    assert names == [image["name"] for image in marker]
    assert marker == _marker(site)
    assert content == (site.backup / ARCHIVE).read_bytes()


def test_a_pin_may_be_the_digest_of_one_platform(tmp_path: Path) -> None:
    """A digest that an index names chooses that image, without the others."""
    shop = Workshop(tmp_path)
    index_of(own, forms.attestation)(shop)
    shop.save()
    index = json.loads(shop.blob_path(shop.top).read_text())

    image = Layout(str(shop.path)).resolve("x", "", index["manifests"][0]["digest"])

    assert index["manifests"][0]["digest"] == f"sha256:{image.manifest.sha256}"
    assert 3 == len(image.blobs)


def test_a_digest_chooses_between_images_of_one_name(tmp_path: Path) -> None:
    """A pinned digest names one of several images of a layout, with and without a tag."""
    shop = Workshop(tmp_path)
    forms.second_image(shop)
    shop.save()
    digests = [str(item["digest"]) for item in shop.index["manifests"]]

    for ref in ("", "1.0"):
        resolved: list[Image] = [Layout(str(shop.path)).resolve("x", ref, digest) for digest in digests]
        assert digests == ["sha256:" + image.manifest.sha256 for image in resolved]


def _copy(source: str, target: Path) -> bool:
    if shutil.which("skopeo") is None:
        pytest.fail("This test needs a package of this machine: apt-get install skopeo")
    done = subprocess.run(["skopeo", "copy", "--quiet", source, f"dir:{target}"], check=False, capture_output=True)
    return done.returncode == 0


def _marker(site: ImageSite) -> list[dict[str, str]]:
    images: list[dict[str, str]] = json.loads((site.backup / MARKER).read_text())["images"]
    return images


def _content(directory: Path, left_out: str) -> dict[str, Any]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != left_out}
