"""Machine id, directories and Ansible of the system controller; whether that Ansible loads the playbooks."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import Final

from db.database import Database
from db.inventory import installation_id
from playbook_sets.phase_playbooks import ControllerLayout
from playbook_sets.playbook_set import PlaybookCheck
from runner.ansible_installation import AnsibleInstallation
from runner.errors import NoRunRootError, ProcessesLeftError
from service.settings import Settings
from statemachine.states import PHASES

# Not a worker's name: the start of that worker would end the check.
_NAME: Final = "settings-check"
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def machine_id() -> str:
    """Return an id of this machine: a digest of its machine id, or of its host name."""
    try:
        own = Path("/etc/machine-id").read_text().strip()
    except OSError:
        own = ""
    return sha256((own or socket.gethostname()).encode()).hexdigest()[:12]


def ansible_installation(settings: Settings) -> AnsibleInstallation:
    """Return the Ansible that runs playbooks. Nothing of it need be there."""
    # Not resolved: the program of a virtual environment finds the environment by the path that it is run by.
    ours = AnsibleInstallation(collections=settings.collection_paths, niceness=settings.worker_nice)
    return replace(
        ours,
        program=settings.ansible.absolute() if settings.ansible else ours.program,
        config=settings.ansible_config.absolute() if settings.ansible_config else ours.config,
        pipelining=None if settings.ssh_pipelining == "auto" else settings.ssh_pipelining,
    )


def controller_layout(settings: Settings, database: Database) -> ControllerLayout:
    """Return where things are on this controller."""
    with database.read() as connection:
        origin = installation_id(connection)
    return ControllerLayout(
        # Not resolved: it may be a link, which is exchanged with the set while the service runs.
        playbooks_dir=settings.playbooks_dir.absolute(),
        deploy_dir=settings.deploy_dir.resolve(),
        feed_dir=settings.feed_dir.resolve(),
        ssh_user=settings.ssh_user,
        origin=origin,
        deadlines_s={
            phase.state: getattr(settings, phase.deadline_setting) for phase in PHASES.values() if phase.needs_slot
        },
        floor_rate_mbit_s=settings.floor_rate_mbit_s,
        keep_releases=settings.keep_releases,
    )


def playbook_load_error(settings: Settings) -> str | None:
    """Return the first error of the playbooks with its remedy, None without one or where it cannot be looked for.

    A set that loaded for a worker of this user, or at the last check, is not loaded again unless a file changed.
    """
    # Loaded by commands that check, and by workers.
    from playbook_sets.load_check import LoadCheck  # noqa: PLC0415

    found = PlaybookCheck(settings.playbooks_dir).first_error()
    if found is not None:
        return found
    try:
        with ended_in_order():
            return LoadCheck(settings.playbooks_dir, ansible_installation(settings), worker=_NAME).first_error()
    except NoRunRootError:
        # The check of the directory for runs reports it: without one no playbook runs.
        return None
    except ProcessesLeftError as error:
        return f"The playbooks cannot be checked: {error}."
    except OSError as error:
        return f"The playbooks cannot be checked: {error.strerror}."


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end this process by SystemExit, so that what it has started is ended too.

    Does nothing outside the main thread.
    """
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
    # The status that a shell gives for a process that a signal ended.
    sys.exit(128 + number)
