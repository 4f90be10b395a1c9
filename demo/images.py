"""Makes small container images as OCI image layouts, without any container tool, and the list that names them.

Sizes and bytes come from the image's name, so the same call makes the same digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

LIST_NAME = "prestage_images_list.txt"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NAMES = ("keystone", "nova-compute", "node-agent")
LAYER_BYTES = 96 * 1024


@dataclass(frozen=True, kw_only=True)
class DemoImage:
    """One image layout on disk."""

    name: str
    # Directory of the layout.
    path: Path
    # sha256:<hex> of its manifest.
    digest: str

    @property
    def reference(self) -> str:
        """The line for an image list that lies beside the layout's parent."""
        return f"oci:{self.path.parent.name}/{self.path.name}:1.0"


@dataclass(frozen=True, kw_only=True)
class DemoImages:
    """Layouts and the list that names them."""

    list_file: Path
    images: tuple[DemoImage, ...]


def build_images(root: Path, *, names: tuple[str, ...] = NAMES, layer_bytes: int = LAYER_BYTES) -> DemoImages:
    """Write `root`/images/<name>/ for each name and `root`/prestage_images_list.txt.

    The first image is pinned by its digest in the list.
    """
    images = tuple(build_image(root / "images" / name, name, layer_bytes=layer_bytes) for name in names)
    list_file = root / LIST_NAME
    lines = [image.reference for image in images]
    lines[0] += f"@{images[0].digest}"
    list_file.write_text("# Images of the demonstration\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return DemoImages(list_file=list_file, images=images)


def build_image(path: Path, name: str, *, layer_bytes: int = LAYER_BYTES) -> DemoImage:
    """Write one layout with one layer of `layer_bytes` random bytes; an existing one is replaced."""
    shutil.rmtree(path, ignore_errors=True)
    (path / "blobs" / "sha256").mkdir(parents=True)
    plain = _layer(name, layer_bytes)
    layer = _blob(path, gzip.compress(plain, mtime=0), LAYER)
    config = _blob(path, _json(_config(plain)), CONFIG)
    content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    manifest = _blob(path, _json(content), MANIFEST)
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "1.0"}}
    (path / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [named]}))
    (path / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return DemoImage(name=name, path=path, digest=str(manifest["digest"]))


def corrupt_copy(image: DemoImage, path: Path) -> DemoImage:
    """Copy a layout and flip one byte in its biggest blob, the layer; names and sizes stay."""
    shutil.copytree(image.path, path)
    layer = max((path / "blobs" / "sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 0xFF
    layer.write_bytes(content)
    return DemoImage(name=image.name, path=path, digest=image.digest)


def _layer(name: str, size: int) -> bytes:
    content = random.Random(name).randbytes(size)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(f"opt/{name}/data")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _config(layer: bytes) -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }


def _blob(path: Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (path / "blobs" / "sha256" / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
