"""Recognise the playbook set of a directory: ours, or StarlingX's of 2022 or of today.

Looked at for each run, so that a set may be exchanged while the service runs. Never runs or parses a playbook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from statemachine.phases import PHASES, PRESTAGE
from statemachine.states import StepState

# The file name of each phase's playbook.
PLAYBOOKS: Final[Mapping[StepState, str]] = {
    phase.state: phase.playbook for phase in PHASES.values() if phase.playbook is not None
}
# What stages a release, and so tells whose a set is.
_STAGING: Final = tuple(phase.state for phase in PRESTAGE.phases if phase.needs_slot)
# What only a playbook says that wants variables of ours.
_OURS: Final = "prestager_"
# What upstream's playbooks have asked for since a site is prestaged for an install or for a software deploy.
_REASON: Final = "prestage_reason"
# The controller's list of software, which today's packages playbook asks for itself unless it is given.
_SOFTWARE_LIST: Final = "system_controller_sw_list"
# The release as an OSTree repository in its feed.
_REPOSITORY: Final = "ostree_repo"
# Of a file no more is read than this, in bytes; a larger one is no playbook.
MOST_BYTES: Final = 4 * 1024 * 1024
# Upstream's roles of these playbooks; beside them stand hundreds of files that have nothing to do with prestage.
_ROLE_FILES: Final = "roles/prestage*/**/*.y*ml"


@dataclass(frozen=True, kw_only=True)
class PlaybookSet:
    """What a set of playbooks does and wants (contract 10)."""

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
    playbooks = [_text(directory / PLAYBOOKS[phase]) for phase in _STAGING]
    is_ours = any(_OURS in text for text in playbooks)
    texts = [] if is_ours else [*playbooks, *map(_text, role_files(directory))]
    return PlaybookSet(
        is_ours=is_ours,
        prepares=_is_file(directory / PLAYBOOKS[StepState.PREPARE]),
        unstages=is_ours and _is_file(directory / PLAYBOOKS[StepState.UNSTAGING]),
        takes_reason=any(_REASON in text for text in texts),
        takes_software_list=any(_SOFTWARE_LIST in text for text in texts),
        stages_repository=any(_REPOSITORY in text for text in texts),
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


def _text(path: Path) -> str:
    # A pipe may never be opened, and a device never end.
    if not _is_file(path):
        return ""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
