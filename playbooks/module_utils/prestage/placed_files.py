"""
Remembers which files runs have put into the directory of a release, so that withdrawn ones are found in every layout.

A feed may keep packages in directories of its own, which hold nothing else, or at its top, beside our other files.
"""

import os
from typing import Iterable, List, Set

from .documents import read_document, remove_file, write_document
from .errors import PrestageError
from .files import require_no_links
from .safe_names import relative_path

# Written before the first file of a run, removed when the manifest of the complete release takes its place.
RECORD = "prestage_packages_files.json"
PACKAGE_SUFFIX = ".rpm"


class PlacedFiles:
    """The files of packages and metadata in the directory of one release on a site."""

    def __init__(self, directory: str, manifest_name: str) -> None:
        """
        Nothing is touched yet.

        Args:
            directory: The release's directory below the backup directory.

            manifest_name: Name in it of the manifest of the last complete run.
        """
        self._directory = directory
        self._record = os.path.join(directory, RECORD)
        self._manifest = os.path.join(directory, manifest_name)

    def expect(self, wanted: Set[str]) -> None:
        """Record that files at the relative paths `wanted` will be written."""
        known = self._known()
        if not wanted <= known:
            write_document(self._record, {"paths": sorted(known | wanted)})

    def strangers(self, wanted: Set[str]) -> List[str]:
        """
        Return the relative paths of files that are of an earlier content of the release and not `wanted`.

        Everything in a directory that packages or metadata use counts as such, and so do, where packages lie at the
        top, other packages there.
        """
        known = self._known() | wanted
        found = {path for path in known if os.path.lexists(self._path(path)) and self._has_no_link(path)}
        found.update(self._below({path.split("/")[0] for path in known if "/" in path}))
        if any("/" not in path for path in wanted) and os.path.isdir(self._directory):
            found.update(name for name in os.listdir(self._directory) if name.endswith(PACKAGE_SUFFIX))
        return sorted(path for path in found - wanted if os.path.islink(self._path(path)) or not self._is_dir(path))

    def remove_strangers(self, wanted: Set[str]) -> int:
        """Remove the strangers, and the directories that are empty then; return the number of files."""
        strangers = self.strangers(wanted)
        for path in strangers:
            os.unlink(self._path(path))
            self._remove_empty(os.path.dirname(path))
        return len(strangers)

    def forget(self) -> None:
        """Remove the record: from here on the manifest of the complete release says it."""
        remove_file(self._record)

    def _known(self) -> Set[str]:
        """Return the paths of the record and of the last manifest; what is unreadable there is left out."""
        record, manifest = read_document(self._record) or {}, read_document(self._manifest) or {}
        names = [*_items(record.get("paths")), *(_path_of(item) for item in _items(manifest.get("files")))]
        return {str(name) for name in names if _is_safe(name)}

    def _below(self, tops: Set[str]) -> Iterable[str]:
        for top in tops:
            if os.path.islink(self._path(top)):
                continue
            for directory, folders, names in os.walk(self._path(top)):
                links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
                for name in [*names, *links]:
                    yield os.path.relpath(os.path.join(directory, name), self._directory)

    def _has_no_link(self, path: str) -> bool:
        try:
            require_no_links(self._directory, [path])
        except PrestageError:
            return False
        return True

    def _remove_empty(self, path: str) -> None:
        while path and not os.listdir(self._path(path)):
            os.rmdir(self._path(path))
            path = os.path.dirname(path)

    def _is_dir(self, path: str) -> bool:
        return os.path.isdir(self._path(path))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _items(value: object) -> List[object]:
    return value if isinstance(value, list) else []


def _path_of(item: object) -> object:
    return item.get("path") if isinstance(item, dict) else None


def _is_safe(name: object) -> bool:
    try:
        relative_path(name, RECORD)
    except PrestageError:
        return False
    return True
