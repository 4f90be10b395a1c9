"""Reads OCI image layouts: which blobs an image has, and their content."""

import hashlib
import json
import os
from typing import IO, Any, ContextManager, Dict, List, NamedTuple, Sequence, Set, Tuple

from .errors import PrestageError
from .image_manifest import (
    DEEPEST,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    LARGEST_JSON_BYTES,
    OCI_INDEX,
    Blob,
    Child,
    Manifest,
    parse_blob,
    parse_digest,
    parse_json_object,
    parse_manifest,
)
from .layout_files import layout_files
from .platforms import OS, choose

REF_NAME = "org.opencontainers.image.ref.name"
# Where containerd, nerdctl, buildx and `docker save` keep the whole name; their REF_NAME is the tag.
CONTAINERD_NAME = "io.containerd.image.name"
LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
LAYOUT_CONTENT = b'{"imageLayoutVersion": "1.0.0"}\n'
# Says what is inside in the archives of older Docker.
DOCKER_ARCHIVE_FILE = "manifest.json"
BLOBS = "blobs/sha256/"
# Names of other images in one message.
SHOWN = 5


class MissingBlobError(PrestageError):
    """A layout lacks a blob of an image."""


class Image(NamedTuple):
    """An image that is resolved to its content."""

    name: str
    # Descriptor of the top-level manifest, as it goes into an index.
    media_type: str
    manifest: Blob
    # All blobs, the manifest first.
    blobs: List[Blob]
    # Entries of a multi-platform image, those too whose content is not among the blobs.
    variants: Sequence[Child] = ()

    def as_dict(self) -> Dict[str, Any]:
        """Return what `image_from_dict` reads."""
        return {
            "name": self.name,
            "media_type": self.media_type,
            "manifest": self.manifest._asdict(),
            "blobs": [blob._asdict() for blob in self.blobs],
            "variants": [variant._asdict() for variant in self.variants],
        }

    def require_variant(self, architecture: str) -> None:
        """
        Check that a machine of this architecture finds the image complete.

        Raises:
            PrestageError: The image has several platforms and not this one, or without its content.
        """
        if not self.variants:
            return
        chosen = choose(self.variants, architecture)
        known = {blob.sha256 for blob in self.blobs}
        if chosen is None or chosen.sha256 not in known:
            there = sorted({f"{one.os}/{one.architecture}" for one in self.variants if one.sha256 in known})
            raise PrestageError(
                f"Image {self.name} has no complete variant for {OS}/{architecture}; it has {', '.join(there)}. "
                "Make the layout again with that platform."
            )


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
    variants = [Child(*(str(item[key]) for key in Child._fields)) for item in content.get("variants") or []]
    return Image(name, str(content["media_type"]), blobs[0], blobs, variants)


class Layout:
    """An image layout; use it for reading only."""

    def __init__(self, path: str) -> None:
        """Take a directory or a tar file; it is opened at each read."""
        self.path = path
        self._files = layout_files(path)

    def resolve(self, name: str, ref: str, pinned: str = "") -> Image:
        """
        Find an image and all its blobs.

        Of a multi-platform image the variants whose content is not all there are left out; one has to be complete.

        Args:
            name: Name of the image for messages and in the site's archive.

            ref: Its name in the layout; empty for the only image.

            pinned: sha256:<hex> that chooses between several with this name.

        Raises:
            PrestageError: There is no such layout or image, or its JSON is malformed or damaged.
        """
        sha256, declared = self._unwrap(self._select(self._index(), ref, pinned), pinned)
        top = parse_manifest(self._verified(sha256), declared, self.path)
        blobs = self._collect(sha256, declared, {}, 0)
        return Image(name, top.media_type, blobs[0], blobs, top.children)

    def open_blob(self, sha256: str) -> ContextManager[IO[bytes]]:
        """
        Open a blob for reading; its content is not verified here.

        Raises:
            FileNotFoundError: The layout has no such blob.
        """
        return self._files.open(BLOBS + sha256)

    def _index(self) -> Dict[str, Any]:
        if not os.path.exists(self.path):
            raise PrestageError(
                f"There is no OCI image layout at {self.path}. Correct the image list or put it there.", "controller"
            )
        try:
            with self._files.open(INDEX_FILE) as stream:
                raw = stream.read(LARGEST_JSON_BYTES + 1)
        except FileNotFoundError as error:
            if self._files.size(DOCKER_ARCHIVE_FILE) is not None:
                raise PrestageError(
                    f"{self.path} is no OCI image layout, but an archive of docker save before version 25. List it as "
                    f"docker-archive:{self.path}",
                    "controller",
                ) from error
            raise PrestageError(
                f"{self.path} is no OCI image layout: {INDEX_FILE} is missing. Make it again.", "controller"
            ) from error
        return parse_json_object(raw, f"{INDEX_FILE} of the OCI image layout {self.path}")

    def _select(self, index: Dict[str, Any], ref: str, pinned: str) -> Dict[str, Any]:
        manifests = index.get("manifests")
        if not isinstance(manifests, list):
            raise PrestageError(
                f"{INDEX_FILE} of {self.path} is malformed: it lists no manifests. Make the layout again.", "controller"
            )
        known = [item for item in manifests if isinstance(item, dict)]
        named = [item for item in known if not ref or {ref, f"{ref}@{pinned}"} & _names(item)]
        by_digest = {str(item.get("digest")): item for item in reversed(named)}
        if len(by_digest) > 1 and pinned in by_digest:
            return by_digest[pinned]
        if len(by_digest) != 1:
            wanted = f"named {ref!r}" if ref else "(give oci:path:ref when a layout holds several)"
            others = sorted(set().union(*map(_names, named or known)))[:SHOWN]
            there = f" Its names are {', '.join(others)}." if others else ""
            raise PrestageError(
                f"{self.path} holds {len(by_digest)} images {wanted}, expected 1.{there} Correct the image list.",
                "controller",
            )
        return next(iter(by_digest.values()))

    def _unwrap(self, descriptor: Dict[str, Any], pinned: str) -> Tuple[str, str]:
        """Return SHA-256 and declared media type of the image: the named one, or the one in it that is pinned."""
        sha256, declared = parse_digest(descriptor, self.path), str(descriptor.get("mediaType") or "")
        if pinned == f"sha256:{sha256}":
            return sha256, declared
        top = parse_manifest(self._verified(sha256), declared, self.path)
        for child in top.children:
            if pinned == f"sha256:{child.sha256}" or _is_wrapper(top):
                return child.sha256, child.media_type
        return sha256, declared

    def _collect(self, sha256: str, declared: str, done: Dict[str, List[Blob]], depth: int) -> List[Blob]:
        """Return the blobs below a manifest, itself first; configurations and layers are not read."""
        if sha256 in done:
            return done[sha256]
        if depth > DEEPEST:
            raise PrestageError(
                f"{self.path} is malformed: its indexes are nested too deeply. Make the layout again.", "controller"
            )
        raw = self._verified(sha256)
        manifest = parse_manifest(raw, declared, self.path)
        below = self._variants(manifest, done, depth) if manifest.is_index else self._leaves(manifest)
        blobs = list({blob.sha256: blob for blob in [Blob(sha256, len(raw)), *below]}.values())
        done[sha256] = blobs
        return blobs

    def _variants(self, index: Manifest, done: Dict[str, List[Blob]], depth: int) -> List[Blob]:
        missing: List[MissingBlobError] = []
        found = [blob for child in index.children for blob in self._present(child, done, depth, missing)]
        if missing and not found:
            raise missing[0]
        if not found:
            raise PrestageError(f"An index in {self.path} names no image. Make the layout again.", "controller")
        return found

    def _present(
        self, child: Child, done: Dict[str, List[Blob]], depth: int, missing: List[MissingBlobError]
    ) -> List[Blob]:
        try:
            return self._collect(child.sha256, child.media_type, done, depth + 1)
        except MissingBlobError as error:
            missing.append(error)
            return []

    def _leaves(self, manifest: Manifest) -> List[Blob]:
        for blob in manifest.leaves:
            size = self._files.size(BLOBS + blob.sha256)
            if size is None:
                raise self._missing(blob.sha256)
            if size != blob.size:
                raise PrestageError(
                    f"Blob sha256:{blob.sha256} in {self.path} has {size} bytes, but its manifest says {blob.size}. "
                    "Make the layout again.",
                    "controller",
                )
        return manifest.leaves

    def _verified(self, sha256: str) -> bytes:
        try:
            with self.open_blob(sha256) as stream:
                raw = stream.read(LARGEST_JSON_BYTES + 1)
        except FileNotFoundError as error:
            raise self._missing(sha256) from error
        if len(raw) <= LARGEST_JSON_BYTES and hashlib.sha256(raw).hexdigest() != sha256:
            raise PrestageError(f"Blob sha256:{sha256} in {self.path} is damaged. Make the layout again.", "checksum")
        return raw

    def _missing(self, sha256: str) -> MissingBlobError:
        return MissingBlobError(f"Blob sha256:{sha256} is missing in {self.path}. Make the layout again.")


def _names(descriptor: Dict[str, Any]) -> Set[str]:
    annotations = descriptor.get("annotations")
    if not isinstance(annotations, dict):
        return set()
    return {name for name in map(annotations.get, (REF_NAME, CONTAINERD_NAME)) if isinstance(name, str) and name}


def _is_wrapper(index: Manifest) -> bool:
    """Tell whether `wrapper` made this index."""
    shapes = [(child.media_type, child.os, child.architecture) for child in index.children]
    return index.media_type == OCI_INDEX and shapes == [(DOCKER_MANIFEST, "", "")]


def wrapper(image: Image) -> bytes:
    """
    Return an index with this image alone if it has Docker's media type, else nothing.

    skopeo finds a name in a layout only if it stands for OCI's media types; inside an index it takes Docker's.
    """
    if image.media_type != DOCKER_MANIFEST:
        return b""
    return _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_descriptor(image)]})


def index_json(images: List[Image]) -> bytes:
    """Return the index of a layout that holds `images`, the same bytes for the same images."""
    return _json({"schemaVersion": 2, "manifests": list(map(_entry, images))})


def _entry(image: Image) -> Dict[str, Any]:
    names = {"annotations": {REF_NAME: image.name}}
    wrapped = wrapper(image)
    if wrapped:
        digest = "sha256:" + hashlib.sha256(wrapped).hexdigest()
        return {"mediaType": OCI_INDEX, "digest": digest, "size": len(wrapped), **names}
    media_type = OCI_INDEX if image.media_type in INDEX_TYPES else image.media_type
    return {**_descriptor(image), "mediaType": media_type, **names}


def _descriptor(image: Image) -> Dict[str, Any]:
    digest = "sha256:" + image.manifest.sha256
    return {"mediaType": image.media_type, "digest": digest, "size": image.manifest.size}


def _json(content: Dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("utf-8")
