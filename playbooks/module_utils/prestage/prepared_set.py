"""
Builds, once per pair of releases, the set of packages that sites of the previous release lack.

Runs on the controller. The set is a directory with the new and changed packages, the target feed's metadata, the
manifest and the marker; it appears with one rename, so whoever sees it sees all of it.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List

from .checksums import is_intact
from .documents import read_document, utc, write_document
from .errors import PrestageError
from .feed import Feed, check_package, package_entry
from .file_lock import locked_within
from .manifest import CHANGED, METADATA, NEW, UNCHANGED, Entry, Manifest, parse_manifest

MANIFEST = "manifest.json"
MARKER = "completed.json"
BUILDING = ".building-"


def set_directory(shared_root: str, previous: str) -> str:
    """Return where the set for sites of the previous release lies."""
    return os.path.join(shared_root, f"from-{previous}")


@contextmanager
def exclusive(directory: str, wait_s: float) -> Iterator[None]:
    """Let one process at a time work in `directory`; the kernel frees the lock when the process dies."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    with open(os.path.join(directory, ".prepare.lock"), "a", encoding="utf-8") as lock:
        if not locked_within(lock.fileno(), wait_s):
            raise PrestageError(
                f"Another prepare has been working in {directory} for more than {wait_s:.0f} s. "
                "Wait for it to end, then prestage again."
            )
        yield


def prepare(target: Feed, previous: Feed, shared_root: str, release: str, from_release: str) -> Dict[str, Any]:
    """
    Make the set complete and return its counts; `changed` is False when it was complete before.

    Call it inside `exclusive`. On failure neither a set nor a marker is left.
    """
    final = set_directory(shared_root, from_release)
    manifest = compare(target, previous, release, from_release)
    if _is_complete(final, manifest):
        return dict(_counts(manifest), changed=False)
    _sweep(shared_root, final)
    building = tempfile.mkdtemp(prefix=BUILDING, dir=shared_root)
    try:
        _fill(building, target, manifest)
        os.chmod(building, 0o755)
        os.rename(building, final)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return dict(_counts(manifest), changed=True)


def discard(shared_root: str, from_release: str) -> None:
    """Remove a set and its marker, so that no site uses what could not be made again."""
    _sweep(shared_root, set_directory(shared_root, from_release))


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
    if marker is None or not os.path.isfile(path):
        raise PrestageError(
            f"There is no prepared package set in {directory}. Run prepare_prestage_packages.yml first."
        )
    with open(path, encoding="utf-8") as source:
        manifest = parse_manifest(source.read(), path)
    if marker.get("manifest_sha256") != manifest.digest:
        raise PrestageError(f"The manifest {path} was changed after it was made. Prepare the release again.")
    return manifest


def shared_files(manifest: Manifest) -> List[Entry]:
    """Return the files that the set holds."""
    return [entry for entry in manifest.entries if entry.change != UNCHANGED]


def _fill(directory: str, target: Feed, manifest: Manifest) -> None:
    packages = {package.path: package for package in target.packages}
    for entry in shared_files(manifest):
        if entry.change != METADATA:
            check_package(target, packages[entry.path])
        _link_or_copy(os.path.join(target.directory, entry.path), os.path.join(directory, entry.path))
    write_document(os.path.join(directory, MANIFEST), manifest.as_dict())
    write_document(os.path.join(directory, MARKER), {"manifest_sha256": manifest.digest, "completed_at": utc()})


def _link_or_copy(source: str, target: str) -> None:
    # A link costs no space; it is refused across file systems and, on hardened hosts, for files of others.
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _is_complete(directory: str, manifest: Manifest) -> bool:
    try:
        found = load_set(directory)
    except PrestageError:
        return False
    if found != manifest:
        return False
    return all(
        is_intact(os.path.join(directory, entry.path), entry.sha256, entry.size) for entry in shared_files(manifest)
    )


def _sweep(shared_root: str, final: str) -> None:
    """Remove an outdated set and what killed runs left; the marker goes first."""
    leftovers = [name for name in os.listdir(shared_root) if name.startswith(BUILDING)]
    for directory in [final] + [os.path.join(shared_root, name) for name in leftovers]:
        if os.path.isdir(directory):
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
    }
