"""Playbook set of a directory: ours, or StarlingX's of 2022 or of today; and its errors that show without Ansible.

Looked at for each run, so that a set may be exchanged while the service runs; files that have not changed are not read
again. Nothing is executed, and no line of a file is quoted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Final

from runner.failure_text import sentence
from statemachine.states import PHASES, PRESTAGE, StepState

# The file name of each phase's playbook.
PLAYBOOKS: Final[Mapping[StepState, str]] = {
    phase.state: phase.playbook for phase in PHASES.values() if phase.playbook is not None
}
# Phases whose playbooks stage a release; by them a set is recognised as ours.
_STAGING: Final = tuple(phase.state for phase in PRESTAGE.phases if phase.needs_slot)
# Begins the names of our own variables; only our playbooks use them.
_OURS: Final = "prestager_"
# The digest of the packages that a retry has passed, in our playbook of the images.
_PASSED: Final = "prestage_passed_content"
# What upstream's playbooks have asked for since a site is prestaged for an install or for a software deploy.
_REASON: Final = "prestage_reason"
# The controller's list of software, which today's packages playbook asks for itself unless it is given.
_SOFTWARE_LIST: Final = "system_controller_sw_list"
# The release as an OSTree repository in its feed.
_REPOSITORY: Final = "ostree_repo"
_MARKS: Final = (_OURS, _PASSED, _REASON, _SOFTWARE_LIST, _REPOSITORY)
# Seconds after which a file that has not changed is taken for one that is not being written.
_SETTLED_S: Final = 2.0
# Of a file no more is read than this, in bytes; a larger one is no playbook.
MOST_BYTES: Final = 4 * 1024 * 1024
# Upstream's roles of these playbooks; beside them stand hundreds of files that have nothing to do with prestage.
_ROLE_FILES: Final = "roles/prestage*/**/*.y*ml"

_VARIABLES: Final = ("group_vars/all.y*ml", "group_vars/all/**/*.y*ml")


@dataclass(frozen=True, kw_only=True)
class PlaybookSet:
    """Abilities and needs of a set of playbooks (contract 10)."""

    # It wants our own host variables: where things are on the controller, and the fencing token.
    is_ours: bool
    # It has a playbook for the prepare phase; upstream has had none since 2023.
    prepares: bool
    # It wants to know what a site is prestaged for.
    takes_reason: bool
    # It takes the controller's list of software.
    takes_software_list: bool = False
    # It stages the OSTree repository of the release's feed.
    stages_repository: bool = False
    # It says what content it brings, and looks at a site for what a retry has passed.
    proves: bool = False
    # It has our playbook that removes what ours have staged; an older set of ours has none.
    unstages: bool = False

    @property
    def phases(self) -> tuple[StepState, ...]:
        """The phases that need a playbook; a set of ours without its prepare playbook is broken, not new."""
        wanted = {StepState.PREPARE: self.prepares or self.is_ours, StepState.UNSTAGING: self.unstages}
        return tuple(phase for phase in PLAYBOOKS if wanted.get(phase, True))

    @property
    def is_newer(self) -> bool:
        """Whether the set is upstream's without the prepare phase, to be served as upstream serves it today."""
        return StepState.PREPARE not in self.phases


def read_playbook_set(directory: Path) -> PlaybookSet:
    """Look at the playbooks in `directory`; what is missing or unreadable there says nothing."""
    playbooks = [_marks(directory / PLAYBOOKS[phase]) for phase in _STAGING]
    is_ours = any(_OURS in marks for marks in playbooks)
    found = frozenset[str]() if is_ours else frozenset[str]().union(*playbooks, *map(_marks, role_files(directory)))
    return PlaybookSet(
        is_ours=is_ours,
        prepares=_is_file(directory / PLAYBOOKS[StepState.PREPARE]),
        proves=is_ours and _PASSED in _marks(directory / PLAYBOOKS[StepState.IMAGES]),
        unstages=is_ours and _is_file(directory / PLAYBOOKS[StepState.UNSTAGING]),
        takes_reason=_REASON in found,
        takes_software_list=_SOFTWARE_LIST in found,
        stages_repository=_REPOSITORY in found,
    )


def role_files(directory: Path) -> Iterator[Path]:
    """Yield the YAML files of roles beside the playbooks that have to do with prestage."""
    return (path for path in directory.glob(_ROLE_FILES) if _is_file(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # It is in a directory that this user cannot enter.
        return False


def _marks(path: Path) -> frozenset[str]:
    """Return which of the words that tell sets apart are in a file; one that did not change is not read again."""
    try:
        status = path.stat()
        # A pipe may never be opened, and a device never end.
        if not stat.S_ISREG(status.st_mode):
            return frozenset()
        version = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        # One that has just changed may change again within a tick of the clock of files.
        is_settled = abs(time() - status.st_ctime) > _SETTLED_S
        return _marks_of(path, version) if is_settled else _read_marks(path)
    except OSError:
        return frozenset()


@lru_cache(maxsize=1024)
def _marks_of(path: Path, version: tuple[int, ...]) -> frozenset[str]:
    del version
    return _read_marks(path)


def _read_marks(path: Path) -> frozenset[str]:
    with path.open("rb") as file:
        text = file.read(MOST_BYTES).decode("utf-8", "replace")
    return frozenset(mark for mark in _MARKS if mark in text)


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
                self._seen[path] = (version, self._content_error(path, is_playbook, status.st_size))
        except OSError as error:
            return f"{self._shown(path)} cannot be read: {error.strerror}."
        found = self._seen[path][1]
        return None if found is None else f"{self._shown(path)} {found}"

    @staticmethod
    def _content_error(path: Path, is_playbook: bool, size: int) -> str | None:  # noqa: FBT001 - one of two kinds of file
        if size > MOST_BYTES:
            return f"has {size} bytes, more than any playbook."
        # A process that reads no playbook needs no YAML.
        from playbook_sets.playbook_content import content_error  # noqa: PLC0415

        return content_error(path, is_playbook=is_playbook)

    def _shown(self, path: Path) -> Path:
        return path.relative_to(self._directory)


def _playbooks(directory: Path) -> list[Path]:
    return [directory / PLAYBOOKS[phase] for phase in read_playbook_set(directory).phases]
