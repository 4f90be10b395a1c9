"""Loads the playbooks with the Ansible that runs them, for `config check` and `doctor`: takes a second or more."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Final

from runner.load_check import LoadCheck
from runner.playbook_set import PlaybookCheck
from runner.private_dir import NoRunRootError
from runner.processes import ProcessesLeftError
from service.controller import ansible_installation
from service.settings import Settings

# Not a worker's name: the start of that worker would end the check.
_NAME: Final = "settings-check"
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def playbook_load_error(settings: Settings) -> str | None:
    """Return the first error of the playbooks with its remedy, None without one or where it cannot be looked for.

    A set that loaded for a worker of this user, or at the last check, is not loaded again unless a file changed.
    """
    found = PlaybookCheck(settings.playbooks_dir).first_error()
    if found is not None:
        return found
    try:
        with _ended_in_order():
            return LoadCheck(settings.playbooks_dir, ansible_installation(settings), worker=_NAME).first_error()
    except NoRunRootError:
        # It is told of the directory for runs, without which no playbook runs.
        return None
    except ProcessesLeftError as error:
        return f"The playbooks cannot be checked: {error}."
    except OSError as error:
        return f"The playbooks cannot be checked: {error.strerror}."


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Make signals that end this process, such as those of `timeout`, end the check's processes too."""
    if current_thread() is not main_thread():
        yield
        return
    # One that is ignored, as SIGHUP by nohup, stays so.
    replaced = [number for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    # As a shell tells a process that was ended by a signal.
    sys.exit(128 + number)
