"""The list of every file of a release's feed, with size and SHA-256: what a site must hold in the end."""

import hashlib
import json
from typing import Any, Dict, List, NamedTuple

from .documents import parse_object
from .errors import PrestageError
from .safe_names import SHA256, excerpt, is_size, relative_path

FORMAT = 1
UNCHANGED = "unchanged"
CHANGED = "changed"
NEW = "new"
METADATA = "metadata"
# No feed has more files.
MOST_FILES = 1000000
CHANGES = (UNCHANGED, CHANGED, NEW, METADATA)


class Entry(NamedTuple):
    """One file of the feed."""

    # Relative to the feed's directory.
    path: str
    sha256: str
    # In bytes.
    size: int
    # Against the previous release: one of CHANGES.
    change: str


class Manifest(NamedTuple):
    """The files of one release, seen from a previous one; for a reinstall both are the same."""

    release: str
    from_release: str
    # SHA-256 of each feed's repomd.xml: "target" and "previous".
    feeds: Dict[str, str]
    entries: List[Entry]

    @property
    def digest(self) -> str:
        """SHA-256 over release and files: two manifests with the same digest ask for the same bytes."""
        lines = [self.release] + [f"{entry.path}\0{entry.sha256}\0{entry.size}" for entry in sorted(self.entries)]
        return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    @property
    def package_count(self) -> int:
        """Files that are not metadata."""
        return sum(1 for entry in self.entries if entry.change != METADATA)

    def count(self, change: str) -> int:
        """Files with this kind of change."""
        return sum(1 for entry in self.entries if entry.change == change)

    def as_dict(self) -> Dict[str, Any]:
        """Return what `parse` reads."""
        return {
            "format": FORMAT,
            "release": self.release,
            "from_release": self.from_release,
            "feeds": self.feeds,
            "files": [entry._asdict() for entry in self.entries],
        }

    def as_text(self) -> str:
        """Return the manifest as JSON, the same text for the same manifest."""
        return json.dumps(self.as_dict(), indent=1, sort_keys=True) + "\n"


def parse_manifest(text: str, where: str) -> Manifest:
    """
    Read a manifest and check every field.

    Raises:
        PrestageError: It is malformed, or a file name could leave the feed's directory.
    """
    what = f"The package manifest {where}"
    content = parse_object(text, what)
    if content.get("format") != FORMAT:
        raise PrestageError(
            f"{what} is malformed: format is {excerpt(content.get('format'))}, expected {FORMAT}. Prepare again.",
            "controller",
        )
    files = content.get("files")
    if not isinstance(files, list) or not files:
        raise PrestageError(f"{what} is malformed: it lists no files. Prepare the release again.", "controller")
    if len(files) > MOST_FILES:
        raise PrestageError(
            f"{what} is malformed: it lists more than {MOST_FILES} files. Prepare the release again.", "controller"
        )
    entries = [_entry(item, f"{what}, file {number}") for number, item in enumerate(files, start=1)]
    if len({entry.path for entry in entries}) != len(entries):
        raise PrestageError(f"{what} is malformed: it lists a file twice. Prepare the release again.", "controller")
    feeds = content.get("feeds")
    return Manifest(
        release=str(content.get("release")),
        from_release=str(content.get("from_release")),
        feeds={str(key): str(value) for key, value in feeds.items()} if isinstance(feeds, dict) else {},
        entries=entries,
    )


def _entry(item: Any, where: str) -> Entry:
    if not isinstance(item, dict):
        raise PrestageError(f"{where} is malformed: not an object. Prepare the release again.", "controller")
    path = relative_path(item.get("path"), where)
    sha256, size, change = item.get("sha256"), item.get("size"), item.get("change")
    if not isinstance(sha256, str) or not SHA256.match(sha256):
        raise PrestageError(
            f"{where} ({path}) is malformed: {excerpt(sha256)} is no SHA-256. Prepare the release again.", "controller"
        )
    if not isinstance(size, int) or not is_size(size):
        raise PrestageError(
            f"{where} ({path}) is malformed: {excerpt(size)} is no size. Prepare the release again.", "controller"
        )
    if change not in CHANGES:
        raise PrestageError(
            f"{where} ({path}) is malformed: unknown change {excerpt(change)}. Prepare the release again.", "controller"
        )
    return Entry(path, sha256, size, str(change))
