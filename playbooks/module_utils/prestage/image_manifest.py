"""Reads image manifests and indexes, of layouts and registries: what they are and what they name."""

import json
from typing import Any, Dict, List, NamedTuple

from .errors import PrestageError
from .safe_names import SHA256, excerpt, is_size

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
# The OCI type comes first: it is meant where none is given.
INDEX_TYPES = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
# No manifest or index is larger.
LARGEST_JSON_BYTES = 4 * 1024 * 1024
# An index in an index is legal; more depth than this is a loop or an attack.
DEEPEST = 4


class Blob(NamedTuple):
    """A piece of an image; its digest is its name."""

    # Hexadecimal SHA-256.
    sha256: str
    # In bytes.
    size: int


class Child(NamedTuple):
    """An entry of an index."""

    sha256: str
    # Media type that the index gives it; may be empty.
    media_type: str
    # Empty when the index names no platform.
    os: str
    architecture: str


class Manifest(NamedTuple):
    """An image manifest with its blobs, or an index with its children."""

    media_type: str
    is_index: bool
    # Entries of an index.
    children: List[Child]
    # Configuration and layers of an image.
    leaves: List[Blob]


def parse_manifest(raw: bytes, declared_type: str, where: str) -> Manifest:
    """
    Read an image manifest or index.

    Args:
        raw: Its bytes.

        declared_type: Media type given by whatever names it; may be empty.

        where: The layout or the image, for messages.

    Raises:
        PrestageError: It is neither of them, both, or malformed.
    """
    content = parse_json_object(raw, f"An image manifest of {where}")
    if content.get("schemaVersion") == 1 or "fsLayers" in content:
        raise PrestageError(f"{where} has a manifest of Docker's schema 1, which is not taken. Push the image again.")
    is_index, is_image = "manifests" in content, "config" in content or "layers" in content
    if is_index == is_image:
        what = "both an index and an image" if is_index else "neither an index nor an image"
        raise PrestageError(f"An image manifest of {where} is malformed: it is {what}. Make the image again.")
    media_type = _media_type(content.get("mediaType"), declared_type, where, is_index=is_index)
    if is_index:
        children = [_child(item, where) for item in _items(content, "manifests", where)]
        return Manifest(media_type, is_index=True, children=children, leaves=[])
    leaves = [parse_blob(leaf, where) for leaf in [content.get("config"), *_items(content, "layers", where)]]
    return Manifest(media_type, is_index=False, children=[], leaves=leaves)


def parse_json_object(raw: bytes, what: str) -> Dict[str, Any]:
    """
    Read a JSON object.

    Raises:
        PrestageError: It is none, or too large.
    """
    if len(raw) > LARGEST_JSON_BYTES:
        raise PrestageError(f"{what} is larger than {LARGEST_JSON_BYTES} bytes. Make the image again.")
    try:
        content = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise PrestageError(f"{what} is malformed: {error}. Make the image again.") from error
    if not isinstance(content, dict):
        raise PrestageError(f"{what} is malformed: it is not a JSON object. Make the image again.")
    return content


def parse_blob(descriptor: Any, where: str) -> Blob:
    """Read digest and size of a descriptor."""
    sha256 = parse_digest(descriptor, where)
    size = descriptor.get("size")
    if not isinstance(size, int) or not is_size(size):
        raise PrestageError(
            f"{where} has a malformed descriptor: sha256:{sha256} has the size {excerpt(size)}. Make the image again."
        )
    return Blob(sha256, size)


def parse_digest(descriptor: Any, where: str) -> str:
    """Read the SHA-256 of a descriptor."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    algorithm, _, sha256 = str(digest).partition(":")
    if algorithm != "sha256" or not SHA256.match(sha256):
        raise PrestageError(f"{where} has a malformed descriptor: digest {excerpt(digest)}. Only SHA-256 is known.")
    return sha256


def _items(content: Dict[str, Any], key: str, where: str) -> List[Any]:
    items = content.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise PrestageError(
            f"An image manifest of {where} is malformed: {key} is {excerpt(items)}. Make the image again."
        )
    return items


def _child(item: Any, where: str) -> Child:
    sha256 = parse_digest(item, where)
    platform = item.get("platform")
    if not isinstance(platform, dict):
        platform = {}
    return Child(
        sha256,
        str(item.get("mediaType") or ""),
        str(platform.get("os") or ""),
        str(platform.get("architecture") or ""),
    )


def _media_type(own: Any, declared: str, where: str, *, is_index: bool) -> str:
    """Return the media type, which is the content's own; the content decides where there is none."""
    fitting = INDEX_TYPES if is_index else MANIFEST_TYPES
    others = MANIFEST_TYPES if is_index else INDEX_TYPES
    if (own and own not in fitting) or declared in others:
        shape = "an index" if is_index else "an image"
        raise PrestageError(
            f"An image manifest of {where} is {shape}, but its media type is {excerpt(own or declared)}. "
            "Make the image again."
        )
    return str(own or (declared if declared in fitting else fitting[0]))
