"""What the tests of real playbook runs share: results, and a run that waits until it is told to go on."""

from __future__ import annotations

import sys
import threading
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from runner.interface import PlaybookJob, RunEnded
from runner.processes import marked, templates
from tests.support.waiting import PATIENCE_S, wait_for

LOCAL_HOST_VARS = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


class Results:
    """Takes results from a runner's thread."""

    def __init__(self) -> None:
        self.all: list[RunEnded] = []
        self._changed = threading.Condition()

    def __call__(self, result: RunEnded) -> None:
        """Take a result: this is the `on_finished` callback."""
        with self._changed:
            self.all.append(result)
            self._changed.notify_all()

    def wait(self, run_id: int = 1) -> RunEnded:
        """Return the result of a run once it is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.find(run_id), PATIENCE_S), f"no result of run {run_id}"
        return self.find(run_id)[0]

    def find(self, run_id: int) -> list[RunEnded]:
        """Return the results of a run so far."""
        return [result for result in self.all if result.run_id == run_id]


def text(result: RunEnded) -> str:
    """Return the output of a run."""
    return zlib.decompress(result.output).decode()


def sleepers(argument: str) -> list[psutil.Process]:
    """Return the living processes that have `argument` on their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if argument in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


WAITING_PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Begin
      ansible.builtin.debug:
        msg: it began
    - name: Wait for ever
      ansible.builtin.shell: |
        setsid sleep {{ mark }} &
        env -i setsid sh -c 'trap "" TERM; sleep {{ mark }}; sleep {{ mark }}' &
        touch {{ ready }}
        sleep {{ mark }}
"""


class Waiting:
    """A job whose only task starts processes in sessions of their own, one without environment, and never ends."""

    def __init__(self, make_job: Callable[..., PlaybookJob], tmp_path: Path, **fields: Any) -> None:
        self.ready = tmp_path / f"ready-{fields.get('run_id', 1)}"
        self.mark = f"9{uuid.uuid4().int % 10**8:08}"
        extra_vars = {"ready": str(self.ready), "mark": self.mark}
        self.job = make_job(WAITING_PLAYBOOK, extra_vars=extra_vars, **fields)

    def wait_until_running(self) -> None:
        """Return once the task runs, with all its processes."""
        wait_for(lambda: self.ready.exists() and len(sleepers(self.mark)) == 3)

    def processes(self) -> list[psutil.Process]:
        """Return what is alive of the task's own processes."""
        return sleepers(self.mark)


def hosts_of_runs(worker: str) -> list[psutil.Process]:
    """Return the processes of `worker` that host a run or wait for one, without what they have started."""
    found = marked(worker)
    return [process for process in found if process.ppid() not in {other.pid for other in found}]


def run_directories(run_root: Path, worker: str) -> list[Path]:
    """Return the private directories of runs; those of living templates, one of which has built modules, are none."""
    options = ("--private-dir", "--modules")
    lines = [process.cmdline() for process in templates(worker)]
    of_templates = {Path(line[line.index(option) + 1]) for line in lines for option in options}
    return [path for path in run_root.iterdir() if path.is_dir() and path not in of_templates]
