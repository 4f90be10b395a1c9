"""
Reads a package feed by its own rpm metadata: repomd.xml names and seals the metadata, primary.xml the packages.

The checksums form a chain, so the SHA-256 of repomd.xml stands for the content of the whole feed.
"""

import bz2
import gzip
import lzma
import os
import zlib
from contextlib import nullcontext
from typing import Any, Callable, Dict, List, NamedTuple
from xml.etree import ElementTree

from .checksums import ALGORITHMS, checksum_of_file, new_digest
from .errors import PrestageError
from .files import open_regular, require_inside
from .manifest import METADATA, MOST_FILES, UNCHANGED, Entry, Manifest
from .rpm_metadata import BoundedXml
from .safe_names import is_size, relative_path

REPOMD = "repodata/repomd.xml"
# Signature files that may lie beside repomd.xml without being named in it.
SIGNATURES = ("repodata/repomd.xml.asc", "repodata/repomd.xml.key")
OPENERS: Dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".xml": nullcontext}


class FeedPackage(NamedTuple):
    """One package as primary.xml describes it."""

    name: str
    arch: str
    # Relative to the feed's directory.
    path: str
    size: int
    algorithm: str
    checksum: str


class Feed(NamedTuple):
    """A feed whose metadata has been verified; its packages have not been read yet."""

    directory: str
    # SHA-256 of repomd.xml.
    fingerprint: str
    metadata: List[Entry]
    packages: List[FeedPackage]


def read_feed(directory: str) -> Feed:
    """
    Read and verify the metadata of the feed in `directory`.

    Raises:
        PrestageError: There is no feed, or its metadata is missing, damaged or malformed.
    """
    repomd = os.path.join(directory, REPOMD)
    if not os.path.isfile(repomd):
        raise PrestageError(f"There is no package feed in {directory}: {REPOMD} is missing. Load the release first.")
    paths = {REPOMD}
    primary = ""
    for data in _parse(repomd):
        if _local(data.tag) != "data":
            continue
        path = _check_metadata(directory, repomd, data)
        paths.add(path)
        if data.get("type") == "primary":
            primary = path
    if not primary:
        raise PrestageError(f"{repomd} names no primary metadata. Make the feed's metadata again with createrepo.")
    paths.update(name for name in SIGNATURES if os.path.isfile(os.path.join(directory, name)))
    metadata = [_metadata_entry(directory, path) for path in sorted(paths)]
    return Feed(directory, checksum_of_file(repomd), metadata, _read_primary(os.path.join(directory, primary)))


def package_entry(feed: Feed, package: FeedPackage, change: str) -> Entry:
    """Describe a package for a manifest; its file is read only when the metadata has no SHA-256."""
    if package.algorithm == "sha256":
        return Entry(package.path, package.checksum, package.size, change)
    path = os.path.join(feed.directory, package.path)
    check_package(feed, package)
    return Entry(package.path, checksum_of_file(path), package.size, change)


def check_package(feed: Feed, package: FeedPackage) -> None:
    """
    Verify one package file against the metadata.

    Raises:
        PrestageError: It is missing or damaged.
    """
    path = require_inside(feed.directory, package.path)
    if not os.path.isfile(path):
        raise PrestageError(f"Package {package.path} is missing in the feed {feed.directory}. Load the release again.")
    found = checksum_of_file(path, package.algorithm)
    if found != package.checksum:
        raise PrestageError(
            f"Package {package.path} in the feed {feed.directory} is damaged: its {package.algorithm} checksum is "
            f"{found}, the metadata says {package.checksum}. Load the release again."
        )


def own_manifest(feed: Feed, release: str) -> Manifest:
    """Return the manifest of a reinstall: everything is in the site's own feed."""
    packages = [package_entry(feed, package, UNCHANGED) for package in feed.packages]
    return Manifest(
        release, release, {"target": feed.fingerprint, "previous": feed.fingerprint}, packages + feed.metadata
    )


def _check_metadata(directory: str, repomd: str, data: Any) -> str:
    """Verify one metadata file named in repomd.xml and return its path."""
    fields = {_local(child.tag): child for child in data}
    location, checksum = fields.get("location"), fields.get("checksum")
    if location is None or checksum is None or not checksum.text:
        raise PrestageError(f"{repomd} is malformed: a data element lacks its location or checksum.")
    path = relative_path(location.get("href"), repomd)
    full = require_inside(directory, path)
    if not os.path.isfile(full):
        raise PrestageError(f"{path} is missing in the feed {directory}. Load the release again.")
    if checksum_of_file(full, checksum.get("type", "")) != checksum.text.strip():
        raise PrestageError(f"{path} in the feed {directory} is damaged: its checksum differs from repomd.xml's.")
    return path


def _metadata_entry(directory: str, path: str) -> Entry:
    full = require_inside(directory, path)
    return Entry(path, checksum_of_file(full), os.path.getsize(full), METADATA)


def _read_primary(path: str) -> List[FeedPackage]:
    opener = OPENERS.get(os.path.splitext(path)[1])
    if opener is None:
        raise PrestageError(f"{path} is compressed in an unsupported way. Use one of: {', '.join(sorted(OPENERS))}.")
    packages: List[FeedPackage] = []
    seen = set()
    try:
        with open_regular(path) as raw, opener(raw) as stream:
            for _, element in ElementTree.iterparse(BoundedXml(stream, path)):
                if _local(element.tag) == "package":
                    package = _package(element, path)
                    if package.path in seen:
                        raise PrestageError(f"{path} is malformed: it lists {package.path} twice.")
                    if len(seen) >= MOST_FILES:
                        raise PrestageError(f"{path} lists more than {MOST_FILES} packages. Split the feed.")
                    seen.add(package.path)
                    packages.append(package)
                    element.clear()
    except (ElementTree.ParseError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
        raise PrestageError(f"{path} is malformed: {error}. Make the feed's metadata again.") from error
    return packages


def _package(element: Any, where: str) -> FeedPackage:
    fields = {_local(child.tag): child for child in element}
    try:
        checksum, size = fields["checksum"], int(fields["size"].get("package"))
        path = relative_path(fields["location"].get("href"), where)
        algorithm, value = checksum.get("type"), checksum.text.strip()
        name = fields["name"].text or ""
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise PrestageError(
            f"{where} is malformed: a package lacks {error}. Make the feed's metadata again."
        ) from error
    new_digest(algorithm)
    if not is_size(size) or len(value) != new_digest(algorithm).digest_size * 2:
        raise PrestageError(f"{where} is malformed: wrong size or checksum of {path}. Make the feed's metadata again.")
    arch = fields["arch"].text if "arch" in fields else ""
    return FeedPackage(name, arch or "", path, size, ALGORITHMS[algorithm], value)


def _parse(path: str) -> Any:
    try:
        with open_regular(path) as stream:
            return ElementTree.parse(BoundedXml(stream, path)).getroot()
    except ElementTree.ParseError as error:
        raise PrestageError(f"{path} is malformed: {error}. Make the feed's metadata again.") from error


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
