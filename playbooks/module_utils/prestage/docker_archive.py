"""Reads the archives of `docker save` before version 25, and of `podman save`, as images with OCI manifests."""

import hashlib
import io
import json
import os
from contextlib import contextmanager
from typing import IO, Any, Dict, Iterator, List, Tuple

from .errors import PrestageError
from .image_manifest import LARGEST_JSON_BYTES, OCI_MANIFEST, Blob, parse_digest, parse_json_object
from .image_names import parse_registry_name
from .layout_files import layout_files
from .oci_layout import Image
from .safe_names import excerpt

LIST_FILE = "manifest.json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
GZIP_MAGIC = b"\x1f\x8b"
# Names of other images in one message.
SHOWN = 5


class DockerArchive:
    """
    An archive of Docker; use it for reading only.

    Its images have no manifest. The one that is made for them depends on their configuration and layers only, whose
    digests are those that Docker shows.
    """

    def __init__(self, path: str, ref: str) -> None:
        """
        Take one image of a tar file, which is opened at each read.

        Args:
            path: The file.

            ref: Whole name of the image with registry and tag; empty for the only one.
        """
        self.path = path
        self._ref = ref
        self._files = layout_files(path)
        self._manifest = b""
        # Files of configuration and layers by SHA-256.
        self._names: Dict[str, str] = {}

    def resolve(self, name: str) -> Image:
        """
        Return the image, called `name`, and all its blobs.

        Raises:
            PrestageError: There is no such archive or image, or its JSON is malformed, or a layer is missing.
        """
        config, layers = self._read(self._select())
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(CONFIG_TYPE, config),
            "layers": [_descriptor(LAYER_TYPE, layer) for layer in layers],
        }
        self._manifest = json.dumps(manifest, sort_keys=True).encode("utf-8")
        top = Blob(hashlib.sha256(self._manifest).hexdigest(), len(self._manifest))
        return Image(name, OCI_MANIFEST, top, list(dict.fromkeys([top, config, *layers])))

    @contextmanager
    def open_blob(self, sha256: str) -> Iterator[IO[bytes]]:
        """
        Open a blob for reading; its content is not verified here.

        Raises:
            FileNotFoundError: The image has no such blob.
        """
        if not self._manifest:
            self.resolve("")
        if sha256 == hashlib.sha256(self._manifest).hexdigest():
            yield io.BytesIO(self._manifest)
            return
        with self._files.open(self._names.get(sha256, "")) as stream:
            yield stream

    def _items(self) -> List[Dict[str, Any]]:
        if not os.path.exists(self.path):
            raise PrestageError(
                f"There is no archive {self.path}. Correct the image list or put it there.", "controller"
            )
        raw = b'{"images": ' + self._content(LIST_FILE) + b"}"
        items = parse_json_object(raw, f"{LIST_FILE} of {self.path}")["images"]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise PrestageError(
                f"{LIST_FILE} of {self.path} is malformed: it lists no images. Save the image again.", "controller"
            )
        return items

    def _select(self) -> Dict[str, Any]:
        items, ref = self._items(), self._ref
        found = [item for item in items if not ref or ref in _tags(item)]
        if len(found) != 1:
            wanted = f"named {ref!r}" if ref else "(give docker-archive:path:name when an archive holds several)"
            names = ", ".join([tag for item in items for tag in _tags(item)][:SHOWN])
            raise PrestageError(
                f"{self.path} holds {len(found)} images {wanted}, expected 1. Its names are {names or 'none'}. "
                "Correct the image list.",
                "controller",
            )
        return found[0]

    def _read(self, item: Dict[str, Any]) -> Tuple[Blob, List[Blob]]:
        """Return configuration and layers; a layer's digest is in the configuration."""
        raw = self._content(str(item.get("Config")))
        config = Blob(hashlib.sha256(raw).hexdigest(), len(raw))
        self._names[config.sha256] = str(item.get("Config"))
        rootfs = parse_json_object(raw, f"The configuration of an image in {self.path}").get("rootfs")
        digests = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        names = item.get("Layers")
        if not isinstance(digests, list) or not isinstance(names, list) or len(digests) != len(names):
            raise PrestageError(
                f"{self.path} is malformed: {LIST_FILE} and configuration differ in their layers. "
                "Save the image again.",
                "controller",
            )
        return config, [self._layer(digest, str(name)) for digest, name in zip(digests, names)]

    def _layer(self, digest: Any, name: str) -> Blob:
        sha256 = parse_digest({"digest": digest}, self.path)
        size = self._files.size(name)
        if size is None:
            raise PrestageError(
                f"The layer {excerpt(name)} is missing in {self.path}. Save the image again.", "controller"
            )
        with self._files.open(name) as stream:
            if stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC:
                raise PrestageError(
                    f"The layers in {self.path} are compressed. Make an oci-archive of it: "
                    f"skopeo copy docker-archive:{self.path} oci-archive:FILE",
                    "controller",
                )
        self._names[sha256] = name
        return Blob(sha256, size)

    def _content(self, name: str) -> bytes:
        try:
            with self._files.open(name) as stream:
                return stream.read(LARGEST_JSON_BYTES + 1)
        except FileNotFoundError as error:
            raise PrestageError(
                f"{self.path} is no archive of docker save: {excerpt(name)} is missing. Correct the image list, or "
                "save the image again.",
                "controller",
            ) from error


def _tags(item: Dict[str, Any]) -> List[str]:
    tags = item.get("RepoTags")
    return [_whole(str(tag)) for tag in tags] if isinstance(tags, list) else []


def _whole(text: str) -> str:
    try:
        return parse_registry_name(text).tagged
    except PrestageError:
        return text


def _descriptor(media_type: str, blob: Blob) -> Dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{blob.sha256}", "size": blob.size}
