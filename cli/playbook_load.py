"""Loads the playbooks with the Ansible that runs them, for `config check` and `doctor`: takes a second or more."""

from __future__ import annotations

from typing import Final

from bootstrap.machine import ansible_installation
from runner.load_check import LoadCheck
from runner.playbook_check import PlaybookCheck
from runner.private_dir import NoRunRootError
from settings.model import Settings

# Not a worker's name: the start of that worker would end the check.
_NAME: Final = "settings-check"


def playbook_load_error(settings: Settings) -> str | None:
    """Return the first error of the playbooks with its remedy, None without one or where it cannot be looked for.

    A set that loaded for a worker of this user, or at the last check, is not loaded again unless a file changed.
    """
    found = PlaybookCheck(settings.playbooks_dir).first_error()
    if found is not None:
        return found
    try:
        return LoadCheck(settings.playbooks_dir, ansible_installation(settings), worker=_NAME).first_error()
    except NoRunRootError:
        # It is told of the directory for runs, without which no playbook runs.
        return None
    except OSError as error:
        return f"The playbooks cannot be checked: {error.strerror}."
