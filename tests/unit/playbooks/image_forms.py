"""Writes image layouts and archives in the forms that tools write, and in some that none should."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.prestage.platforms import own_architecture

from demo.images import build_image

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
FULL_NAME = "quay.io/example/app:1.0"
ABSENT = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "a" * 64, "size": 5}
OWN = {"platform": {"os": "linux", "architecture": own_architecture()}}
OTHER = {"platform": {"os": "linux", "architecture": "mips64le"}}

Json = dict[str, Any]


class Workshop:
    """One layout that is being changed; it begins as a plain image with the ref 1.0."""

    def __init__(self, root: Path) -> None:
        """Make `root`/web."""
        self.root = root
        self.path = root / "web"
        build_image(self.path, "web", layer_bytes=2048)
        self.index: Json = json.loads((self.path / "index.json").read_text())

    @property
    def top(self) -> Json:
        """The descriptor of the image."""
        top: Json = self.index["manifests"][0]
        return top

    @property
    def plain(self) -> Json:
        """The descriptor without annotations."""
        return {key: self.top[key] for key in ("mediaType", "digest", "size")}

    @property
    def manifest(self) -> Json:
        """The content of the manifest."""
        content: Json = json.loads(self.blob_path(self.top).read_text())
        return content

    def blob_path(self, descriptor: Json) -> Path:
        """Return the file of a blob."""
        return self.path / "blobs" / "sha256" / str(descriptor["digest"]).removeprefix("sha256:")

    def blob(self, content: object, media_type: str, **fields: Any) -> Json:
        """Add a blob; return its descriptor."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        descriptor = {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", "size": len(raw)}
        self.blob_path(descriptor).write_bytes(raw)
        return {**descriptor, **fields}

    def replace(self, media_type: str = OCI_MANIFEST, **changes: Any) -> None:
        """Put a changed manifest in place of the image's."""
        self.index["manifests"] = [self.blob({**self.manifest, **changes}, media_type)]

    def wrap(self, *children: Json, media_type: str = OCI_INDEX, **fields: Any) -> Json:
        """Return the descriptor of a new index."""
        return self.blob({"schemaVersion": 2, "mediaType": media_type, "manifests": children}, media_type, **fields)

    def save(self) -> None:
        """Write index.json."""
        (self.path / "index.json").write_text(json.dumps(self.index))

    def tar(self, name: str, *options: str) -> Path:
        """Pack the layout with the program tar."""
        self.save()
        archive = self.root / name
        subprocess.run(["tar", "-C", str(self.path), *options, "-cf", str(archive), "."], check=True)
        return archive


Build = Callable[[Workshop], str]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of an image."""

    # Changes the layout; returns the line for the list.
    build: Build
    # Whether skopeo copies it.
    skopeo: bool = True
    # Sentence of the refusal; empty for what is staged.
    refusal: str = ""


def layout(change: Callable[[Workshop], object], ref: str = "") -> Build:
    """Return a build that changes the layout and lists it."""

    def build(shop: Workshop) -> str:
        change(shop)
        shop.save()
        return f"oci:{shop.path}:{ref}" if ref else f"oci:{shop.path}"

    return build


def archive(name: str, *options: str, ref: str = "") -> Build:
    """Return a build that packs the layout with tar."""
    return lambda shop: f"oci-archive:{shop.tar(name, *options)}" + (f":{ref}" if ref else "")


def top(**fields: Any) -> Callable[[Workshop], object]:
    """Change the image's descriptor; None removes a field."""

    def change(shop: Workshop) -> None:
        shop.top.update(fields)
        for key in [key for key, value in fields.items() if value is None]:
            del shop.top[key]

    return change


def index_of(*children: Json | Callable[[Workshop], Json], media_type: str = OCI_INDEX) -> Callable[[Workshop], object]:
    """Put an index in place of the image."""

    def change(shop: Workshop) -> None:
        made = [child(shop) if callable(child) else child for child in children]
        shop.index["manifests"] = [shop.wrap(*made, media_type=media_type)]

    return change


def own(shop: Workshop) -> Json:
    """Return the image as an entry for this machine."""
    return {**shop.plain, **OWN}


def other(shop: Workshop) -> Json:
    """Return the image as an entry for another machine."""
    return {**shop.plain, **OTHER}


def attestation(shop: Workshop) -> Json:
    """Return what buildx adds to say how an image was built."""
    statement = shop.blob(b"{}", "application/vnd.in-toto+json")
    config = shop.blob({"architecture": "unknown", "os": "unknown"}, "application/vnd.oci.image.config.v1+json")
    content = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [statement]}
    return shop.blob(content, OCI_MANIFEST, platform={"os": "unknown", "architecture": "unknown"})


def without_layers(shop: Workshop) -> Json:
    """Return an entry for another machine whose manifest is there, but not its layer."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + "b" * 64, "size": 9}
    return shop.blob({**shop.manifest, "layers": [layer]}, OCI_MANIFEST, **OTHER)


def nested(depth: int) -> Callable[[Workshop], object]:
    """Put indexes in indexes."""

    def change(shop: Workshop) -> None:
        entry = own(shop)
        for _ in range(depth):
            entry = shop.wrap(entry, **OWN)
        shop.index["manifests"] = [entry]

    return change


def sized(part: str, size: Any) -> Callable[[Workshop], object]:
    """Give the configuration or the layer another size in the manifest; None removes it."""

    def change(shop: Workshop) -> None:
        content = shop.manifest
        descriptor = content["config"] if part == "config" else content["layers"][0]
        descriptor["size"] = size
        if size is None:
            del descriptor["size"]
        shop.replace(**content)

    return change


def docker_types(shop: Workshop) -> None:
    """Give the image Docker's media types."""
    content = shop.manifest
    content["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    content["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    shop.replace(DOCKER_MANIFEST, **{**content, "mediaType": DOCKER_MANIFEST})


def second_image(shop: Workshop, **annotations: str) -> None:
    """Add a different image, by default with the same ref."""
    content = {**shop.manifest, "annotations": {"other": "yes"}}
    names = annotations or {REF_NAME: "1.0"}
    shop.index["manifests"].append(shop.blob(content, OCI_MANIFEST, annotations=names))


def containerd(shop: Workshop) -> None:
    """Name two images of one tag as containerd does."""
    shop.top["annotations"] = {REF_NAME: "1.0", CONTAINERD_NAME: FULL_NAME}
    second_image(shop, **{REF_NAME: "1.0", CONTAINERD_NAME: "quay.io/example/other:1.0"})


def docker_save(shop: Workshop) -> str:
    """Write what Docker 25 and later save: a layout with Docker's own manifest beside it."""
    shop.top["annotations"] = {REF_NAME: "1.0", CONTAINERD_NAME: FULL_NAME}
    (shop.path / "manifest.json").write_text(json.dumps([{"Config": "x", "RepoTags": [FULL_NAME], "Layers": []}]))
    return f"oci-archive:{shop.tar('saved.tar')}"


def old_docker_save(line: str, *edits: str, compress: bool = False, links: bool = False, **changes: Any) -> Build:
    """Return a build that writes what Docker saved before version 25.

    Args:
        line: The line for the list; `{}` is the archive.

        edits: Names of files to leave out.

        compress: Whether the layer is compressed inside.

        links: Whether the layer lies elsewhere and a symbolic link leads to it.

        changes: Fields of manifest.json to change.
    """

    def build(shop: Workshop) -> str:
        plain = shop.root / "plain"
        (plain / "layer").mkdir(parents=True)
        layer = shop.blob_path(shop.manifest["layers"][0]).read_bytes()
        (plain / "layer" / "layer.tar").write_bytes(layer if compress else gzip.decompress(layer))
        if links:
            (plain / "layer" / "layer.tar").rename(plain / "stored.tar")
            (plain / "layer" / "layer.tar").symlink_to("../stored.tar")
        shutil.copyfile(shop.blob_path(shop.manifest["config"]), plain / "config.json")
        item = {"Config": "config.json", "RepoTags": [FULL_NAME, "busybox:1"], "Layers": ["layer/layer.tar"], **changes}
        (plain / "manifest.json").write_text(json.dumps([item]))
        for name in edits:
            (plain / name).unlink()
        target = shop.root / "saved.tar"
        subprocess.run(
            ["tar", "-C", str(plain), "-cf", str(target), *sorted(path.name for path in plain.iterdir())], check=True
        )
        return line.format(target)

    return build


def hard_links(shop: Workshop) -> str:
    """Pack a layout whose blobs are links to files that come first."""
    for number, blob in enumerate(sorted((shop.path / "blobs" / "sha256").iterdir())):
        os.link(blob, shop.path / f"a{number}")
    shop.save()
    target = shop.root / "linked.tar"
    names = sorted(path.name for path in shop.path.iterdir() if path.name != "blobs")
    subprocess.run(["tar", "-C", str(shop.path), "-cf", str(target), *names, "blobs"], check=True)
    with tarfile.open(target) as packed:
        assert any(member.islnk() for member in packed)
    return f"oci-archive:{target}"


def symbolic_links(shop: Workshop) -> str:
    """Pack a layout whose blobs are symbolic links to another directory of it."""
    (shop.path / "store").mkdir()
    for blob in sorted((shop.path / "blobs" / "sha256").iterdir()):
        shutil.move(blob, shop.path / "store" / blob.name)
        blob.symlink_to(f"../../store/{blob.name}")
    return f"oci-archive:{shop.tar('links.tar')}"


def zstd(shop: Workshop) -> str:
    """Compress an archive with zstd."""
    plain = shop.tar("web.tar")
    subprocess.run(["zstd", "-q", str(plain)], check=True)
    return f"oci-archive:{plain}.zst"


def truncated(name: str, *options: str) -> Build:
    """Cut an archive in the middle of a blob."""

    def build(shop: Workshop) -> str:
        packed = shop.tar(name, *options)
        os.truncate(packed, packed.stat().st_size // 2)
        return f"oci-archive:{packed}"

    return build


def raw_manifest(content: object, media_type: str = OCI_MANIFEST) -> Callable[[Workshop], object]:
    """Put any content in place of the manifest."""

    def change(shop: Workshop) -> None:
        shop.index["manifests"] = [shop.blob(content, media_type)]

    return change


def changed(**changes: Any) -> Callable[[Workshop], object]:
    """Change fields of the manifest."""
    return lambda shop: shop.replace(**changes)


def byte_order_mark(shop: Workshop) -> str:
    """Write an index that an editor of Windows saved."""
    shop.save()
    index = shop.path / "index.json"
    index.write_bytes(b"\xef\xbb\xbf" + index.read_bytes())
    return f"oci:{shop.path}"
