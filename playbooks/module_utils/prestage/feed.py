"""
Reads a package feed by its own rpm metadata: repomd.xml names and seals the metadata, primary.xml the packages.

The checksums form a chain, so the SHA-256 of repomd.xml stands for the content of the whole feed.
"""

import os
from typing import Any, Dict, List, NamedTuple
from xml.etree import ElementTree

from .checksums import ALGORITHMS, checksum_of_file, new_digest
from .compression import AGAIN, unpacked
from .errors import PrestageError
from .files import open_regular, require_inside
from .foreign_feeds import foreign_kind
from .manifest import METADATA, MOST_FILES, UNCHANGED, Entry, Manifest
from .rpm_metadata import BoundedXml
from .safe_names import is_size, plain_path

REPOMD = "repodata/repomd.xml"
# Signature files that may lie beside repomd.xml without being named in it.
SIGNATURES = ("repodata/repomd.xml.asc", "repodata/repomd.xml.key")


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
        PrestageError: There is no feed, it is of another kind than rpm, or its metadata is missing, damaged or
            malformed.
    """
    repomd = os.path.join(directory, REPOMD)
    if not os.path.isfile(repomd):
        raise PrestageError(_no_feed(directory), "controller")
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
        raise PrestageError(
            f"{repomd} names no primary metadata. Make the feed's metadata again with createrepo.", "controller"
        )
    paths.update(name for name in SIGNATURES if os.path.isfile(os.path.join(directory, name)))
    metadata = [_metadata_entry(directory, path) for path in sorted(paths)]
    return Feed(directory, checksum_of_file(repomd), metadata, _read_primary(os.path.join(directory, primary)))


def package_entry(feed: Feed, package: FeedPackage, change: str) -> Entry:
    """Describe a package for a manifest; its file is read only when the metadata has no SHA-256."""
    if package.algorithm == "sha256":
        return Entry(package.path, package.checksum, package.size, change)
    check_package(feed, package)
    return Entry(package.path, checksum_of_file(package_file(feed, package)), package.size, change)


def package_file(feed: Feed, package: FeedPackage) -> str:
    """
    Return the path of a package's file, which may be a link out of the feed, as to a pool that releases share.

    The metadata says the checksum, so nothing but that package is ever taken from there.

    Raises:
        PrestageError: There is no regular file.
    """
    path = os.path.join(feed.directory, package.path)
    if not os.path.isfile(path):
        raise PrestageError(
            f"Package {package.path} is missing in the feed {feed.directory}. Load the release again.", "controller"
        )
    return path


def check_package(feed: Feed, package: FeedPackage) -> None:
    """
    Verify one package file against the metadata.

    Raises:
        PrestageError: It is missing or damaged.
    """
    path = package_file(feed, package)
    size = os.path.getsize(path)
    if size != package.size:
        raise PrestageError(
            f"Package {package.path} in the feed {feed.directory} is damaged: it has {size} bytes, the metadata says "
            f"{package.size}. Load the release again.",
            "checksum",
        )
    found = checksum_of_file(path, package.algorithm)
    if found != package.checksum:
        raise PrestageError(
            f"Package {package.path} in the feed {feed.directory} is damaged: its {package.algorithm} checksum is "
            f"{found}, the metadata says {package.checksum}. Load the release again.",
            "checksum",
        )


def own_manifest(feed: Feed, release: str) -> Manifest:
    """Return the manifest of a reinstall: everything is in the site's own feed."""
    packages = [package_entry(feed, package, UNCHANGED) for package in feed.packages]
    return Manifest(
        release, release, {"target": feed.fingerprint, "previous": feed.fingerprint}, packages + feed.metadata
    )


def _no_feed(directory: str) -> str:
    kind = foreign_kind(directory)
    if not kind:
        return f"There is no package feed in {directory}: {REPOMD} is missing. Load the release first."
    return (
        f"{directory} is {kind}; these playbooks take rpm feeds with the metadata of createrepo_c ({REPOMD}). "
        "StarlingX's own playbooks serve OSTree and Debian feeds: set PRESTAGER_PLAYBOOKS_DIR to them."
    )


def _check_metadata(directory: str, repomd: str, data: Any) -> str:
    """Verify one metadata file named in repomd.xml and return its path."""
    fields = {_local(child.tag): child for child in data}
    location, checksum = fields.get("location"), fields.get("checksum")
    if location is None or checksum is None or not checksum.text:
        raise PrestageError(f"{repomd} is malformed: a data element lacks its location or checksum.", "controller")
    path = plain_path(location.get("href"), repomd)
    full = require_inside(directory, path)
    if not os.path.isfile(full):
        raise PrestageError(f"{path} is missing in the feed {directory}. Load the release again.", "controller")
    if checksum_of_file(full, checksum.get("type", "")) != checksum.text.strip().lower():
        raise PrestageError(
            f"{path} in the feed {directory} is damaged: its checksum differs from repomd.xml's.", "checksum"
        )
    return path


def _metadata_entry(directory: str, path: str) -> Entry:
    full = require_inside(directory, path)
    return Entry(path, checksum_of_file(full), os.path.getsize(full), METADATA)


def _read_primary(path: str) -> List[FeedPackage]:
    packages: Dict[str, FeedPackage] = {}
    try:
        with open_regular(path) as raw, unpacked(raw, path) as stream:
            for _, element in ElementTree.iterparse(BoundedXml(stream, path)):
                if _local(element.tag) == "package":
                    _add(packages, _package(element, path), path)
                    element.clear()
    except (ElementTree.ParseError, ValueError) as error:
        raise PrestageError(f"{path} is malformed: {error}. {AGAIN}.", "controller") from error
    return list(packages.values())


def _add(packages: Dict[str, FeedPackage], package: FeedPackage, where: str) -> None:
    """Take a package in once, for createrepo_c lists it as often as it is given."""
    if packages.setdefault(package.path, package) != package:
        raise PrestageError(
            f"{where} is malformed: it lists {package.path} twice with different content. {AGAIN}.", "controller"
        )
    if len(packages) > MOST_FILES:
        raise PrestageError(f"{where} lists more than {MOST_FILES} packages. Split the feed.", "controller")


def _package(element: Any, where: str) -> FeedPackage:
    fields = {_local(child.tag): child for child in element}
    try:
        checksum, size = fields["checksum"], int(fields["size"].get("package"))
        path = plain_path(fields["location"].get("href"), where)
        algorithm, value = checksum.get("type"), checksum.text.strip().lower()
        name = fields["name"].text or ""
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise PrestageError(f"{where} is malformed: a package lacks {error}. {AGAIN}.", "controller") from error
    new_digest(algorithm)
    if not is_size(size) or len(value) != new_digest(algorithm).digest_size * 2:
        raise PrestageError(f"{where} is malformed: wrong size or checksum of {path}. {AGAIN}.", "controller")
    arch = fields["arch"].text if "arch" in fields else ""
    return FeedPackage(name, arch or "", path, size, ALGORITHMS[algorithm], value)


def _parse(path: str) -> Any:
    try:
        with open_regular(path) as stream:
            return ElementTree.parse(BoundedXml(stream, path)).getroot()
    except ElementTree.ParseError as error:
        raise PrestageError(f"{path} is malformed: {error}. {AGAIN}.", "controller") from error


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
