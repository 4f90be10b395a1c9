"""Commands that load the playbooks and are ended meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from playbook_sets.playbook_set import PLAYBOOKS
from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[3]


def hanging_program(tmp_path: Path) -> Path:
    """Return a program in the place of Ansible that does not end and has a process of its own; both are in `pids`."""
    program = tmp_path / "ansible-playbook"
    pids = tmp_path / "pids"
    program.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! > {pids}.new\nmv {pids}.new {pids}\nwait\n")
    program.chmod(0o700)
    return program


def goes_on(pid: int) -> bool:
    """Return whether a process does; one that has ended may wait for ever where nobody collects it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    """A command that is ended while Ansible loads the playbooks, as by `timeout`, ends it with all that it started."""
    playbooks = tmp_path / "set"
    playbooks.mkdir()
    for name in PLAYBOOKS.values():
        (playbooks / name).write_text("- hosts: all\n")
    environment = {
        "PATH": os.environ["PATH"],
        "PRESTAGER_PLAYBOOKS_DIR": str(playbooks),
        "PRESTAGER_ANSIBLE": str(hanging_program(tmp_path)),
        "PRESTAGER_DATA_DIR": str(tmp_path),
        "PRESTAGER_RELEASE": "24.09",
    }
    command = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "config", "check"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for((tmp_path / "pids").exists)
        command.send_signal(number)
        code = command.wait(PATIENCE_S)
    finally:
        command.kill()
        command.wait()
    started = [int(pid) for pid in (tmp_path / "pids").read_text().split()]

    assert 128 + number == code
    assert [] == [pid for pid in started if goes_on(pid)]
