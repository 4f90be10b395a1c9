"""
Brings the packages of a release together on a site and says when they are complete.

Called once or twice in a run: first with what the site has itself, then, if something is missing, with the archive that
the controller packed. Whatever is already right is kept, so a broken run is continued rather than repeated.
"""

import os
from typing import Any, Dict, List, NamedTuple, Optional, Set

from .archive import unpack
from .checksums import DamagedError, copy_verified, is_intact
from .documents import read_document, remove_file, utc, write_document
from .errors import PrestageError
from .files import read_text, require_no_link, require_no_links
from .manifest import METADATA, UNCHANGED, Entry, Manifest, parse_manifest
from .placed_files import PlacedFiles
from .space import OR_LOWER, require_space

MARKER = "prestage_packages_complete.json"
MANIFEST = "prestage_packages_manifest.json"


class PackageStaging:
    """The directory of one release on a site."""

    def __init__(self, directory: str, feed_directory: str, keep_free: int) -> None:
        """
        Nothing is touched yet.

        Args:
            directory: The release's directory below the backup directory.

            feed_directory: The site's own feed.

            keep_free: Bytes that must stay free in the file system.
        """
        self._directory = directory
        self._feed_directory = feed_directory
        self._keep_free = keep_free
        self._placed = PlacedFiles(directory, MANIFEST)

    def own_manifest(self) -> Optional[Manifest]:
        """Return the manifest left by a complete earlier run, if any."""
        if read_document(self._path(MARKER)) is None:
            return None
        try:
            return parse_manifest(read_text(self._path(MANIFEST)), self._path(MANIFEST))
        except (FileNotFoundError, ValueError, PrestageError):
            return None

    def is_complete(self, manifest: Manifest) -> bool:
        """Tell whether the marker is for this manifest and every file still has its checksum."""
        marker = read_document(self._path(MARKER))
        if marker is None or marker.get("manifest_sha256") != manifest.digest:
            return False
        if self._lacking(manifest):
            # It says what is no longer true, and this run may fail before everything is repaired.
            remove_file(self._path(MARKER))
            return False
        return True

    def fault(self, digest: str) -> str:
        """Say what is not as a complete run with this digest left it; empty when all is there. Changes nothing."""
        if read_document(self._path(MARKER)) is None:
            return f"{self._path(MARKER)} is missing"
        manifest = self.own_manifest()
        if manifest is None:
            return f"{self._path(MANIFEST)} is missing or malformed"
        if manifest.digest != digest:
            return "other packages were staged there since"
        lacking = self._lacking(manifest)
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        return f"{lacking[0].path}{more} is missing or damaged" if lacking else ""

    def stage(self, manifest: Manifest, archive: str) -> "Staged":
        """
        Take in what the archive (empty for none) and the site's own feed have; return what is still missing.

        Raises:
            PrestageError: There is no room, the archive is damaged, or a symbolic link leads out of the directory.
        """
        require_no_link(self._directory)
        require_no_links(self._directory, [entry.path for entry in manifest.entries])
        lacking = self._lacking(manifest)
        self._require_space(lacking, transferred=bool(archive))
        remove_file(self._path(MARKER))
        self._placed.expect(_paths(manifest))
        carried = 0
        if archive:
            entries = {entry.path: entry for entry in manifest.entries}
            names = unpack(archive, entries, self._path)
            carried = sum(1 for name in names if entries[name].change != METADATA)
            lacking = self._lacking(manifest)
        reinstall = manifest.release == manifest.from_release
        missing = [entry for entry in lacking if not self._take_own(entry, reinstall=reinstall)]
        own = len(lacking) - len(missing)
        return Staged(missing, own, carried)

    def complete(self, manifest: Manifest) -> None:
        """Verify everything once more, remove what does not belong there, and write the marker last."""
        lacking = self._lacking(manifest)
        if lacking:
            raise PrestageError(
                f"{lacking[0].path} was damaged while it was written. Check the site's disk.", "checksum"
            )
        self.remove_strangers(manifest)
        write_document(self._path(MANIFEST), manifest.as_dict())
        self._placed.forget()
        marker = {
            "release": manifest.release,
            "from_release": manifest.from_release,
            "manifest_sha256": manifest.digest,
            "package_count": manifest.package_count,
            "bytes": manifest.size,
            "completed_at": utc(),
        }
        write_document(self._path(MARKER), marker)

    def remove_strangers(self, manifest: Manifest) -> int:
        """Remove files of an earlier content of the release, in whatever layout; return their number."""
        return self._placed.remove_strangers(_paths(manifest))

    def remove_all(self) -> None:
        """Remove every file that runs placed; the manifest stays, for it says which they are."""
        self._placed.remove_strangers(set())
        self._placed.forget()

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _lacking(self, manifest: Manifest) -> List[Entry]:
        return [entry for entry in manifest.entries if not is_intact(self._path(entry.path), entry.sha256, entry.size)]

    def _require_space(self, lacking: List[Entry], *, transferred: bool) -> None:
        needed = sum(entry.size for entry in lacking)
        if not transferred:
            # What the site does not have comes as an archive, which needs its room beside the unpacked files.
            needed += sum(entry.size for entry in lacking if entry.change != UNCHANGED)
        os.makedirs(self._directory, mode=0o755, exist_ok=True)
        require_space(self._directory, needed, self._keep_free, "the packages", OR_LOWER)

    def _take_own(self, entry: Entry, *, reinstall: bool) -> bool:
        """Copy a file from the site's own feed if it has it in this very version."""
        source = os.path.join(self._feed_directory, entry.path)
        if entry.change != UNCHANGED and not reinstall:
            return False
        if not os.path.isfile(source) or os.path.getsize(source) != entry.size:
            return False
        try:
            copy_verified(source, self._path(entry.path), entry.sha256, entry.size)
        except DamagedError:
            return False
        return True


class Staged(NamedTuple):
    """What one call brought in."""

    missing: List[Entry]
    # Files copied from the site's own feed.
    own_count: int
    # Packages taken from the archive.
    carried_count: int


def stats(manifest: Manifest, transferred: int) -> Dict[str, Any]:
    """Return what the playbook reports at its end."""
    return {
        "package_count": manifest.package_count,
        "transferred_count": transferred,
        "bytes": manifest.size,
        "content_digest": manifest.digest,
    }


def _paths(manifest: Manifest) -> Set[str]:
    return {entry.path for entry in manifest.entries}
