"""What a playbook of ten modules over SSH costs the controller, beside what it costs as a plain `ansible-playbook`.

Run it with `make bench`; it needs root, for a site with a server of its own. Plain runs and runs by the supervisor
alternate. Only processes of the controller count, SSH clients among them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import thread_time
from typing import Any, Final

import psutil
from rich.table import Table

from runner.ansible_installation import AnsibleInstallation, set_environment
from runner.interface import PlaybookJob, RunEnded
from runner.inventory import write_job
from runner.private_dir import PrivateDir
from runner.processes import marked, templates
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.bench.goals import CONSOLE, Goal, judge, show_machine
from tests.support.ssh_server import SshServer, ssh_server
from tests.support.waiting import wait_for

ROUNDS: Final = 3
GOAL_CPU: Final = 0.45
_WORKER: Final = "bench"
_LONGEST_S: Final = 300.0
_PR_SET_CHILD_SUBREAPER: Final = 36
_PLAYBOOK: Final = """\
- hosts: all
  gather_facts: false
  become: true
  vars:
    place: /var/tmp/{{ inventory_hostname }}
  tasks:
    - ansible.builtin.ping: {}
    - ansible.builtin.file: {path: "{{ place }}", state: directory, mode: "0700"}
    - ansible.builtin.copy: {content: "{{ 'a line\\n' * 15000 }}", dest: "{{ place }}/file", mode: "0600"}
    - ansible.builtin.stat: {path: "{{ place }}/file"}
    - ansible.builtin.lineinfile: {path: "{{ place }}/file", line: another}
    - ansible.builtin.find: {paths: "{{ place }}"}
    - ansible.builtin.slurp: {src: /etc/hostname}
    - ansible.builtin.getent: {database: passwd, key: root}
    - ansible.builtin.command: {cmd: "rm -r {{ place }}"}
    - ansible.builtin.wait_for: {path: "{{ place }}", state: absent}
"""


def main() -> int:
    """Measure; return the exit status, which tells whether the goal is met."""
    # SSH clients that outlive a plain run become children of this process, and so count.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    show_machine()
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/dev/shm") as name, ssh_server() as server:
        site = _Site(Path(name), server)
        supervised = _SupervisedRuns(site)
        try:
            # What the first run of a worker costs more: loading Ansible, and building the modules.
            first = _cost_s(supervised.run)
            plain, ours = [], []
            for _ in range(ROUNDS):
                plain.append(_cost_s(site.run_plainly))
                ours.append(_cost_s(supervised.run))
        finally:
            supervised.supervisor.stop()
    ratio = statistics.median(ours) / statistics.median(plain)
    table = Table("of a playbook with ten modules, over SSH", "ansible-playbook", "here", "ratio", "goal")
    table.add_row("CPU of the controller, s", _shown(plain), _shown(ours), f"{ratio:.2f}", f"{GOAL_CPU:.2f}")
    table.add_row("that of the first run of a worker, s", "", f"{first:.2f}", "", "")
    CONSOLE.print(table)
    goal = Goal(name="CPU of a playbook over SSH against ansible-playbook", measured=ratio, limit=GOAL_CPU, unit="x")
    return judge([goal])


def _shown(costs: list[float]) -> str:
    return f"{statistics.median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f})"


class _Site:
    """A site behind SSH, with password login and sudo by password, and the playbook for it."""

    def __init__(self, place: Path, server: SshServer) -> None:
        self.place = place
        self._server = server
        self._playbook = place / "playbook.yml"
        self._playbook.write_text(_PLAYBOOK)

    def job(self, run_id: int) -> PlaybookJob:
        """Return a run of the playbook."""
        return PlaybookJob(
            run_id=run_id,
            playbook=self._playbook,
            host=self._server.user,
            host_vars=self._server.host_vars(),
            secrets=self._server.secrets(),
            extra_vars={},
            deadline_s=_LONGEST_S,
            is_ours=True,
        )

    def run_plainly(self) -> None:
        """Run the playbook with `ansible-playbook` and our configuration."""
        with tempfile.TemporaryDirectory(dir=self.place) as name:
            private = PrivateDir(Path(name) / "run")
            private.create()
            ansible = AnsibleInstallation()
            sources = [word for source in write_job(self.job(0), private) for word in ("-i", source)]
            environment = {
                **ansible.environment(private.tmp),
                **set_environment(is_ours=True),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(private.control),
            }
            command = [str(ansible.program), *sources, str(self._playbook)]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=_LONGEST_S)


class _SupervisedRuns:
    def __init__(self, site: _Site, **options: Any) -> None:
        self._site = site
        self._count = 0
        self._ended = threading.Event()
        self.supervisor = Supervisor(
            slots=1, worker=_WORKER, on_finished=self._finished, run_root=site.place / "runs", warm=0, **options
        )
        self.supervisor.start()

    def run(self) -> None:
        """Run the playbook once, until its processes have ended."""
        self._count += 1
        self._ended.clear()
        self.supervisor.submit(self._site.job(self._count))
        if not self._ended.wait(_LONGEST_S):
            raise TimeoutError("the run does not end")
        wait_for(lambda: not marked(_WORKER))

    def _finished(self, result: RunEnded) -> None:
        if result.outcome is not RunOutcome.SUCCEEDED:
            sys.stderr.write(f"{result.details}\n")
        self._ended.set()


def _cost_s(run: Callable[[], None]) -> float:
    """Return the CPU time that `run` takes in all processes and threads but this thread, which waits, in seconds."""
    before = _used_s()
    run()
    _end_orphans()
    return _used_s() - before


def _used_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    forked = sum(sum(process.cpu_times()[:4]) for process in templates(_WORKER))
    return sum(usage.ru_utime + usage.ru_stime for usage in used) + forked - thread_time()


def _end_orphans() -> None:
    """End what a run has left to this process: masters of shared SSH connections."""
    for process in psutil.Process().children():
        if process.name() == "ssh":
            process.terminate()
            with suppress(ChildProcessError):
                os.waitpid(process.pid, 0)


if __name__ == "__main__":
    raise SystemExit(main())
