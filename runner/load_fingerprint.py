"""Digest of all that decides whether Ansible can load a playbook set: names, times and sizes of files.

No file is read. Kept in the directory for runs, a digest lets later processes of the same user know a set that loaded.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from messages.process_info import program_version
from runner.ansible_installation import AnsibleInstallation

# Files of a set that are looked at, StarlingX's have 1,600; and directories, for a link may lead out of it.
_MOST_FILES: Final = 20_000
_MOST_PLACES: Final = 20_000
# Of other files, such as logs, loading reads nothing; what comes and goes there must not have the set loaded again.
_READ: Final = frozenset({".yml", ".yaml", ".json", ".py"})
# Where Ansible looks for collections when no path is configured.
_USUAL_COLLECTIONS: Final = (Path("~/.ansible/collections"), Path("/usr/share/ansible/collections"))
_COLLECTIONS: Final = "ansible_collections"
# An environment's packages: what is installed into it changes their directory.
_PACKAGES: Final = "lib/python*/site-packages"


def fingerprint(directory: Path, ansible: AnsibleInstallation) -> str:
    """Return a digest that changes with every file of the set in `directory`, with Ansible, and with its collections.

    What cannot be looked at is as if it were not there.
    """
    digest = sha256(repr((program_version(), sys.version, directory, ansible)).encode())
    for entry in (*_ansible_files(ansible), *_source_files(directory)):
        digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def ansible_fingerprint(ansible: AnsibleInstallation, places: Sequence[Path] = ()) -> str:
    """Return a digest that changes with Ansible, its configuration file, its collections and plug-ins in `places`.

    What Python writes beside a plug-in that it has compiled changes nothing.
    """
    digest = sha256(repr((program_version(), sys.version, ansible)).encode())
    plugins = (entry for place in places for entry in _source_files(place))
    for entry in (*_ansible_files(ansible), *plugins):
        digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class LoadedSets:
    """Remembers in a directory, which only this user can write, the fingerprints of sets that loaded."""

    def __init__(self, place: Path, directory: Path, ansible: AnsibleInstallation) -> None:
        name = sha256(repr((directory, ansible)).encode()).hexdigest()[:16]
        self._file = place / f"loaded-set-{name}"

    def has(self, current: str) -> bool:
        """Return whether the set loaded when it had this fingerprint."""
        with suppress(OSError, UnicodeDecodeError):
            return self._file.read_text(encoding="utf-8") == current
        return False

    def add(self, current: str) -> None:
        """Remember it; a place that cannot be written is left alone."""
        new = self._file.with_name(f"{self._file.name}.{secrets.token_hex(4)}")
        try:
            new.write_text(current, encoding="utf-8")
            new.replace(self._file)
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)


def _ansible_files(ansible: AnsibleInstallation) -> Iterator[str]:
    home = ansible.program.parent.parent
    yield f"sshpass {ansible.lacks_sshpass()}\n"
    # Not Path.resolve, which raises where a link names itself.
    yield from map(_entry, (ansible.program, Path(os.path.realpath(ansible.program)), ansible.config))
    yield from map(_entry, sorted(home.glob(_PACKAGES)))
    for place in (*(ansible.collections or [path.expanduser() for path in _USUAL_COLLECTIONS]),):
        # A namespace's directory changes when a collection comes or goes, a collection's when it is exchanged.
        root = place if place.name == _COLLECTIONS else place / _COLLECTIONS
        yield from map(_entry, (root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))))


def _source_files(directory: Path) -> Iterator[str]:
    count = 0
    # By links too, as Ansible reads them: roles may be kept elsewhere. Each directory once, for they may be circular.
    seen: set[tuple[int, int]] = set()
    for place, names, files in os.walk(directory, followlinks=True):
        if len(seen) >= _MOST_PLACES or not _is_new(place, seen):
            names.clear()
            continue
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__pycache__")
        for name in sorted(name for name in files if Path(name).suffix in _READ):
            count += 1
            if count > _MOST_FILES:
                return
            yield _entry(Path(place, name))


def _is_new(place: str, seen: set[tuple[int, int]]) -> bool:
    try:
        status = Path(place).stat()
    except OSError:
        return False
    known = len(seen)
    seen.add((status.st_dev, status.st_ino))
    return len(seen) > known


def _entry(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} {error.errno}\n"
    # The owner and the mode decide who can read it.
    return f"{path} {status.st_mtime_ns} {status.st_size} {status.st_ino} {status.st_mode} {status.st_uid}\n"
