"""
Builds, once per pair of releases, the set of packages that sites of the previous release lack.

Runs on the controller. The set is a directory with the new and changed packages, the target feed's metadata, the
manifest and the marker; it appears with one rename, so whoever sees it sees all of it.
"""

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

from .archive import KEEP_FREE_BYTES
from .checksums import is_intact
from .documents import read_document, utc, write_document
from .errors import PrestageError
from .feed import Feed, FeedPackage, check_package, package_entry, package_file
from .file_lock import locked_within
from .files import is_regular, read_text, require_inside
from .manifest import CHANGED, NEW, UNCHANGED, Entry, Manifest, parse_manifest
from .safe_names import release_number
from .space import require_space

MANIFEST = "manifest.json"
MARKER = "completed.json"
BUILDING = ".building-"
# A directory that a killed prepare left; nothing else is removed beside the set itself.
LEFT_OVER = re.compile(r"\.building-[A-Za-z0-9_]+(\.outdated)?\Z")


def set_directory(shared_root: str, previous: str) -> str:
    """Return where the set for sites of the previous release lies."""
    return os.path.join(shared_root, f"from-{release_number(previous)}")


@contextmanager
def exclusive(directory: str, wait_s: float) -> Iterator[None]:
    """Let one process at a time work in `directory`; the kernel frees the lock when the process dies."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    with open(os.path.join(directory, ".prepare.lock"), "a", encoding="utf-8") as lock:
        if not locked_within(lock.fileno(), wait_s):
            raise PrestageError(
                f"Another prepare has been working in {directory} for more than {wait_s:.0f} s. "
                "Wait for it to end, then prestage again.",
                "controller",
            )
        yield


def prepare(target: Feed, previous: Feed, shared_root: str, release: str, from_release: str) -> Dict[str, Any]:
    """
    Make the set complete and return its counts; `changed` is False when it was complete before.

    Call it inside `exclusive`. A set that is there stays until the new one is whole: other runs may be using it.
    """
    final = set_directory(shared_root, from_release)
    manifest = compare(target, previous, release, from_release)
    if _is_complete(final, manifest):
        return dict(_counts(manifest), changed=False)
    _remove_leftovers(shared_root)
    building = tempfile.mkdtemp(prefix=BUILDING, dir=shared_root)
    try:
        _fill(building, target, manifest)
        os.chmod(building, 0o755)
        _replace(final, building)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return dict(_counts(manifest), changed=True)


def discard_damaged(shared_root: str, from_release: str) -> None:
    """
    Remove a set that is incomplete or damaged, and what killed runs left; an intact set stays for those who use it.

    Call it inside `exclusive`, after a preparation has failed.
    """
    final = set_directory(shared_root, from_release)
    if not _is_intact(final):
        _remove_set(final)
    _remove_leftovers(shared_root)


def compare(target: Feed, previous: Feed, release: str, from_release: str) -> Manifest:
    """Return the manifest of the target feed, each package marked by what the previous feed has of it."""
    known = {package_entry(previous, package, UNCHANGED)[:3] for package in previous.packages}
    names = {(package.name, package.arch) for package in previous.packages}
    entries: List[Entry] = []
    for package in target.packages:
        entry = package_entry(target, package, UNCHANGED)
        if entry[:3] not in known:
            entry = entry._replace(change=CHANGED if (package.name, package.arch) in names else NEW)
        entries.append(entry)
    feeds = {"target": target.fingerprint, "previous": previous.fingerprint}
    return Manifest(release, from_release, feeds, entries + target.metadata)


def load_set(directory: str) -> Manifest:
    """
    Return the manifest of a complete set.

    Raises:
        PrestageError: There is no complete set.
    """
    marker = read_document(os.path.join(directory, MARKER))
    path = os.path.join(directory, MANIFEST)
    if marker is None or not is_regular(path):
        raise PrestageError(
            f"There is no prepared package set in {directory}. Run prepare_prestage_packages.yml first.", "controller"
        )
    manifest = parse_manifest(read_text(path), path)
    if marker.get("manifest_sha256") != manifest.digest:
        raise PrestageError(
            f"The manifest {path} was changed after it was made. Prepare the release again.", "controller"
        )
    return manifest


def shared_files(manifest: Manifest) -> List[Entry]:
    """Return the files that the set holds."""
    return [entry for entry in manifest.entries if entry.change != UNCHANGED]


def _fill(directory: str, target: Feed, manifest: Manifest) -> None:
    """Bring the set together and verify each file of it before the marker is written."""
    packages = {package.path: package for package in target.packages}
    entries = shared_files(manifest)
    sources = {entry.path: _source(target, packages.get(entry.path), entry) for entry in entries}
    refused = [entry for entry in entries if not _link(sources[entry.path], os.path.join(directory, entry.path))]
    needed = sum(entry.size for entry in refused)
    require_space(directory, needed, KEEP_FREE_BYTES, "the prepared packages")
    for entry in refused:
        shutil.copyfile(sources[entry.path], os.path.join(directory, entry.path))
    for entry in entries:
        if is_intact(os.path.join(directory, entry.path), entry.sha256, entry.size):
            continue
        if entry.path in packages:
            check_package(target, packages[entry.path])
        raise PrestageError(f"{entry.path} was damaged while it was copied to {directory}. Check the disk.", "checksum")
    write_document(os.path.join(directory, MANIFEST), manifest.as_dict())
    write_document(os.path.join(directory, MARKER), {"manifest_sha256": manifest.digest, "completed_at": utc()})


def _source(target: Feed, package: Optional[FeedPackage], entry: Entry) -> str:
    """Return the file itself, behind whatever links; metadata must lie in the feed."""
    found = require_inside(target.directory, entry.path) if package is None else package_file(target, package)
    return os.path.realpath(found)


def _link(source: str, target: str) -> bool:
    """Link a file, which costs no space; refused across file systems and, on hardened hosts, for files of others."""
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _is_complete(directory: str, manifest: Manifest) -> bool:
    try:
        found = load_set(directory)
    except PrestageError:
        return False
    return found == manifest and _holds(directory, manifest)


def _is_intact(directory: str) -> bool:
    """Return whether the set holds what its own manifest says."""
    try:
        return _holds(directory, load_set(directory))
    except PrestageError:
        return False


def _holds(directory: str, manifest: Manifest) -> bool:
    return all(
        is_intact(os.path.join(directory, entry.path), entry.sha256, entry.size) for entry in shared_files(manifest)
    )


def _replace(final: str, building: str) -> None:
    """Put a new set in the place of an old one, which is removed afterwards."""
    if not os.path.isdir(final):
        os.rename(building, final)
        return
    outdated = f"{building}.outdated"
    os.rename(final, outdated)
    try:
        os.rename(building, final)
    except BaseException:
        os.rename(outdated, final)
        raise
    _remove_set(outdated)


def _remove_leftovers(shared_root: str) -> None:
    """Remove what killed runs left half-made."""
    for name in os.listdir(shared_root):
        if LEFT_OVER.match(name):
            _remove_set(os.path.join(shared_root, name))


def _remove_set(directory: str) -> None:
    """Remove a set if it is there; the marker goes first, so that nobody takes the rest for a whole set."""
    if os.path.islink(directory):
        os.unlink(directory)
        return
    if not os.path.isdir(directory):
        return
    marker = os.path.join(directory, MARKER)
    if os.path.exists(marker):
        os.unlink(marker)
    shutil.rmtree(directory)


def _counts(manifest: Manifest) -> Dict[str, Any]:
    return {
        "package_count": manifest.package_count,
        "new_count": manifest.count(NEW),
        "changed_count": manifest.count(CHANGED),
        "unchanged_count": manifest.count(UNCHANGED),
        "bytes": sum(entry.size for entry in shared_files(manifest)),
        "content_digest": manifest.digest,
    }
