"""Removes releases that these playbooks have staged on a site, and nothing else that lies beside them."""

import os
import shutil
from typing import Any, Dict, List, Set

from .documents import read_document, remove_file
from .image_staging import ARCHIVE
from .image_staging import MARKER as IMAGES_MARKER
from .image_staging import WORK as IMAGES_WORK
from .package_staging import MANIFEST, PackageStaging
from .package_staging import MARKER as PACKAGES_MARKER
from .placed_files import RECORD
from .safe_names import RELEASE


def staged_releases(backup_dir: str) -> List[str]:
    """Return the releases that are complete on the site, by their packages or images, the oldest first."""
    found = []
    for name in os.listdir(backup_dir):
        directory = os.path.join(backup_dir, name)
        if RELEASE.match(name) and not os.path.islink(directory) and _is_ours(directory, name):
            found.append(name)
    return sorted(found, key=lambda release: [int(part) for part in release.split(".")])


def is_touched(backup_dir: str, release: str) -> bool:
    """Tell whether the directory of a release has something of these playbooks, complete or broken off."""
    directory = os.path.join(backup_dir, release)
    if os.path.islink(directory) or not os.path.isdir(directory):
        return False
    # A marker that cannot be read says nothing, as for a staging, which is then done again.
    if _markers(directory):
        return _is_ours(directory, release)
    return any(os.path.lexists(os.path.join(directory, name)) for name in (MANIFEST, RECORD, IMAGES_WORK))


def outdated_releases(staged: List[str], keep: int, protected: Set[str]) -> List[str]:
    """
    Return which of the staged releases go, the oldest first, so that `keep` stay; those that are protected always do.

    Args:
        staged: The oldest first.

        keep: How many stay; 0: all.

        protected: Releases that stay in any case; they count.
    """
    if keep <= 0:
        return []
    surplus = len(staged) - keep
    return [release for release in staged if release not in protected][: max(0, surplus)]


def remove_release(backup_dir: str, release: str) -> None:
    """Remove what the playbooks put into the directory of a release, and the directory unless others use it too."""
    directory = os.path.join(backup_dir, release)
    work = os.path.join(directory, IMAGES_WORK)
    # It goes last, so that a removal that is broken off is found again.
    os.makedirs(work, mode=0o700, exist_ok=True)
    # The markers first: a removal that is broken off leaves no release that looks complete.
    for name in (PACKAGES_MARKER, IMAGES_MARKER):
        remove_file(os.path.join(directory, name))
    PackageStaging(directory, "", 0).remove_all()
    for name in (MANIFEST, ARCHIVE):
        remove_file(os.path.join(directory, name))
    if os.path.isdir(work) and not os.path.islink(work):
        shutil.rmtree(work)
    if not os.listdir(directory):
        os.rmdir(directory)


def _is_ours(directory: str, release: str) -> bool:
    return any(document.get("release") == release for document in _markers(directory))


def _markers(directory: str) -> List[Dict[str, Any]]:
    """Return the content of the markers that can be read."""
    documents = [read_document(os.path.join(directory, name)) for name in (PACKAGES_MARKER, IMAGES_MARKER)]
    return [document for document in documents if document is not None]
