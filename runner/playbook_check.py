"""Check a directory of playbooks without Ansible: files that are missing, unreadable, or hold no plays.

It is cheap enough to be repeated while the service runs. Nothing is executed, and no line of a file is quoted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from runner.failure_text import sentence
from runner.playbook_set import MOST_BYTES, PLAYBOOKS, read_playbook_set, role_files

# Keys of an entry that brings another playbook in.
_IMPORTS: Final = frozenset({"import_playbook", "ansible.builtin.import_playbook"})
_HOSTS: Final = "hosts"
_VARIABLES: Final = ("group_vars/all.y*ml", "group_vars/all/**/*.y*ml")
_MOST_DEEP: Final = 100

# Composing builds nodes only: tags such as !vault need no constructor, and aliases are not multiplied.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def missing_playbooks(directory: Path) -> Iterator[str]:
    """Yield a sentence for each playbook that the set in `directory` needs and that cannot be read."""
    try:
        is_directory = directory.is_dir()
    except OSError as error:
        yield f"PRESTAGER_PLAYBOOKS_DIR {directory} cannot be looked at by this user: {error.strerror}."
        return
    if not is_directory:
        yield f"PRESTAGER_PLAYBOOKS_DIR {directory} is not a directory."
    elif not os.access(directory, os.R_OK | os.X_OK):
        yield f"PRESTAGER_PLAYBOOKS_DIR {directory} cannot be read by this user."
    else:
        for playbook in _playbooks(directory):
            if not os.access(playbook, os.R_OK):
                yield f"PRESTAGER_PLAYBOOKS_DIR {directory} has no readable {playbook.name}."


class PlaybookCheck:
    """Finds the first error of the playbook set in a directory; files that did not change are not read again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # What was found in a file, by its path: time and size then, and the error.
        self._seen: dict[Path, tuple[tuple[int, int], str | None]] = {}

    def first_error(self) -> str | None:
        """Return the first error in a sentence, None without one; it names file and line, never content."""
        found = next(missing_playbooks(self._directory), None) or self._first_of_files()
        # Names of files may hold anything.
        return None if found is None else sentence(found)

    def _first_of_files(self) -> str | None:
        playbooks = _playbooks(self._directory)
        checks = [*((path, True) for path in playbooks), *((path, False) for path in self._others())]
        self._seen = {path: self._seen[path] for path, _ in checks if path in self._seen}
        return next((found for path, is_playbook in checks if (found := self._error(path, is_playbook))), None)

    def _others(self) -> list[Path]:
        """Return the files of roles, and of variables of every site: Ansible reads those only once a play has begun."""
        variables = (path for pattern in _VARIABLES for path in self._directory.glob(pattern))
        return sorted({*role_files(self._directory), *variables})

    def _error(self, path: Path, is_playbook: bool) -> str | None:  # noqa: FBT001 - one of two kinds of file
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                # Reading a pipe or a device may never end.
                return f"{self._shown(path)} is no regular file."
            version = (status.st_mtime_ns, status.st_size)
            if self._seen.get(path, (None, None))[0] != version:
                self._seen[path] = (version, _content_error(path, is_playbook, status.st_size))
        except OSError as error:
            return f"{self._shown(path)} cannot be read: {error.strerror}."
        found = self._seen[path][1]
        return None if found is None else f"{self._shown(path)} {found}"

    def _shown(self, path: Path) -> Path:
        return path.relative_to(self._directory)


def _playbooks(directory: Path) -> list[Path]:
    return [directory / PLAYBOOKS[phase] for phase in read_playbook_set(directory).phases]


def _content_error(path: Path, is_playbook: bool, size: int) -> str | None:  # noqa: FBT001 - one of two kinds of file
    if size > MOST_BYTES:
        return f"has {size} bytes, more than any playbook."
    try:
        # Ansible, too, takes what is no UTF-8 for an error.
        text = path.read_text(encoding="utf-8")
        if _is_too_deep(text):
            return f"is nested more than {_MOST_DEEP} levels deep."
        document = yaml.compose(text, Loader=_LOADER)
    except UnicodeDecodeError:
        return "is not UTF-8."
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return f"is not valid YAML at line {line}."
    except yaml.YAMLError:
        return "is not valid YAML."
    return _plays_error(document) if is_playbook else None


def _is_too_deep(text: str) -> bool:
    """Tell whether composing a document would recurse deeply: libyaml's ends the process then."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEEP:
            return True
    return False


def _plays_error(document: yaml.Node | None) -> str | None:
    if not isinstance(document, yaml.SequenceNode) or not document.value:
        return "is no list of plays."
    for play in document.value:
        pairs = play.value if isinstance(play, yaml.MappingNode) else []
        keys = {key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)}
        if _HOSTS not in keys and keys.isdisjoint(_IMPORTS):
            return f"has an entry at line {play.start_mark.line + 1} that names no hosts."
    return None
