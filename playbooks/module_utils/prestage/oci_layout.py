"""Reads OCI image layouts, in a directory or in a tar file: which blobs an image has, and their content."""

import hashlib
import json
import os
import tarfile
from contextlib import contextmanager
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Set, cast

from .errors import PrestageError
from .files import open_regular, require_inside
from .safe_names import SHA256, excerpt, is_size

REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
LAYOUT_CONTENT = b'{"imageLayoutVersion": "1.0.0"}\n'
# An index in an index is legal; more depth than this is a loop or an attack.
DEEPEST = 4
LARGEST_JSON_BYTES = 4 * 1024 * 1024


class Blob(NamedTuple):
    """A piece of an image; its digest is its name."""

    # Hexadecimal SHA-256.
    sha256: str
    # In bytes.
    size: int


class Image(NamedTuple):
    """An image that is resolved to its content."""

    name: str
    # Descriptor of the top-level manifest, as it goes into an index.
    media_type: str
    manifest: Blob
    # All blobs, the manifest first.
    blobs: List[Blob]

    def as_dict(self) -> Dict[str, Any]:
        """Return what `image_from_dict` reads."""
        return {
            "name": self.name,
            "media_type": self.media_type,
            "manifest": self.manifest._asdict(),
            "blobs": [blob._asdict() for blob in self.blobs],
        }


def image_from_dict(content: Dict[str, Any]) -> Image:
    """
    Read what `Image.as_dict` returns; it may have travelled through the other machine.

    Raises:
        PrestageError: A blob has no SHA-256 as its name, or no size.
    """
    name = str(content["name"])
    blobs = [parse_blob(dict(blob, digest=f"sha256:{blob['sha256']}"), f"Image {name}") for blob in content["blobs"]]
    if not blobs:
        raise PrestageError(f"Image {name} has no blobs. Prestage again.")
    return Image(name, str(content["media_type"]), blobs[0], blobs)


class Layout:
    """An image layout; use it for reading only."""

    def __init__(self, path: str) -> None:
        """Take a directory or a tar file; it is opened at each read."""
        self.path = path

    def resolve(self, name: str, ref: str) -> Image:
        """
        Find an image and all its blobs.

        Raises:
            PrestageError: There is no such layout or image, or its JSON is malformed or damaged.
        """
        descriptor = self._select(self._json(INDEX_FILE), ref)
        blobs: List[Blob] = []
        self._walk(descriptor, blobs, set(), 0)
        return Image(name, str(descriptor.get("mediaType", "")), blobs[0], blobs)

    @contextmanager
    def open_blob(self, sha256: str) -> Iterator[IO[bytes]]:
        """
        Open a blob for reading; its content is not verified here.

        Raises:
            FileNotFoundError: The layout has no such blob.
        """
        with self._open("blobs/sha256/" + sha256) as stream:
            yield stream

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        if os.path.isdir(self.path):
            with open_regular(require_inside(self.path, name)) as stream:
                yield stream
            return
        try:
            with open_regular(self.path) as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
                members = {member.name.lstrip("./"): member for member in archive if member.isreg()}
                if name not in members:
                    raise FileNotFoundError(2, "no such member", f"{self.path}:{name}")
                yield cast("IO[bytes]", archive.extractfile(members[name]))
        except tarfile.TarError as error:
            raise PrestageError(
                f"{self.path} is no OCI archive: {error}. Make it again, for example with skopeo."
            ) from error

    def _json(self, name: str) -> Any:
        if not os.path.exists(self.path):
            raise PrestageError(f"There is no OCI image layout at {self.path}. Correct the image list or put it there.")
        try:
            with self._open(name) as stream:
                return json.loads(stream.read(LARGEST_JSON_BYTES).decode("utf-8"))
        except FileNotFoundError as error:
            raise PrestageError(f"{self.path} is no OCI image layout: {name} is missing. Make it again.") from error
        except (ValueError, RecursionError) as error:
            raise PrestageError(
                f"{name} of the OCI image layout {self.path} is malformed: {error}. Make it again."
            ) from error

    def _select(self, index: Any, ref: str) -> Dict[str, Any]:
        manifests = index.get("manifests") if isinstance(index, dict) else None
        if not isinstance(manifests, list):
            raise PrestageError(
                f"{INDEX_FILE} of {self.path} is malformed: it lists no manifests. Make the layout again."
            )
        found = [item for item in manifests if isinstance(item, dict) and (not ref or _ref_name(item) == ref)]
        if len(found) != 1:
            wanted = f"named {ref!r}" if ref else "(give oci:path:ref when a layout holds several)"
            raise PrestageError(f"{self.path} holds {len(found)} images {wanted}, expected 1. Correct the image list.")
        return found[0]

    def _walk(self, descriptor: Any, blobs: List[Blob], seen: Set[str], depth: int) -> None:
        """Collect the blobs below a descriptor: manifests are read, configurations and layers only listed."""
        blob = self._blob(descriptor)
        if blob.sha256 in seen:
            return
        seen.add(blob.sha256)
        blobs.append(blob)
        if depth >= DEEPEST:
            raise PrestageError(f"{self.path} is malformed: its indexes are nested too deeply. Make the layout again.")
        media_type = str(descriptor.get("mediaType", ""))
        if "index" in media_type or "manifest" in media_type:
            content = self._verified_json(blob)
            for child in list(content.get("manifests") or []):
                self._walk(child, blobs, seen, depth + 1)
            for leaf in [content.get("config"), *list(content.get("layers") or [])]:
                if leaf is not None:
                    self._walk(dict(leaf, mediaType="") if isinstance(leaf, dict) else leaf, blobs, seen, depth + 1)

    def _blob(self, descriptor: Any) -> Blob:
        return parse_blob(descriptor, self.path)

    def _verified_json(self, blob: Blob) -> Dict[str, Any]:
        try:
            with self.open_blob(blob.sha256) as stream:
                raw = stream.read(LARGEST_JSON_BYTES)
        except FileNotFoundError as error:
            raise PrestageError(
                f"Blob sha256:{blob.sha256} is missing in {self.path}. Make the layout again."
            ) from error
        if hashlib.sha256(raw).hexdigest() != blob.sha256:
            raise PrestageError(f"Blob sha256:{blob.sha256} in {self.path} is damaged. Make the layout again.")
        return parse_manifest_json(raw, self.path)


def parse_manifest_json(raw: bytes, where: str) -> Dict[str, Any]:
    """Read an image manifest or index."""
    try:
        content = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise PrestageError(f"An image manifest of {where} is malformed: {error}.") from error
    if not isinstance(content, dict):
        raise PrestageError(f"An image manifest of {where} is malformed: it is not a JSON object.")
    return content


def parse_blob(descriptor: Any, where: str) -> Blob:
    """Read digest and size of a descriptor."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    size = descriptor.get("size") if isinstance(descriptor, dict) else None
    algorithm, _, sha256 = str(digest).partition(":")
    if algorithm != "sha256" or not SHA256.match(sha256) or not isinstance(size, int) or not is_size(size):
        raise PrestageError(
            f"{where} has a malformed descriptor: digest {excerpt(digest)}, size "
            f"{excerpt(size)}. Only SHA-256 is known."
        )
    return Blob(sha256, size)


def _ref_name(descriptor: Dict[str, Any]) -> str:
    annotations = descriptor.get("annotations")
    return str(annotations.get(REF_NAME, "")) if isinstance(annotations, dict) else ""


def index_json(images: List[Image]) -> bytes:
    """Return the index of a layout that holds `images`, the same bytes for the same images."""
    manifests = [
        {
            "mediaType": image.media_type,
            "digest": "sha256:" + image.manifest.sha256,
            "size": image.manifest.size,
            "annotations": {REF_NAME: image.name},
        }
        for image in images
    ]
    return (json.dumps({"schemaVersion": 2, "manifests": manifests}, indent=1, sort_keys=True) + "\n").encode("utf-8")
