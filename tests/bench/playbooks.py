"""What a playbook run costs beside what it costs as a plain `ansible-playbook`: CPU, time and memory.

Run it with `make bench`. The same playbooks, inventories and configuration are run by the supervisor and by
`xargs -P 8 ansible-playbook`, one after the other, so that the ratios hold on a busy machine too; trust that of CPU.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import psutil
from rich.table import Table

from runner.ansible_installation import AnsibleInstallation, set_environment
from runner.interface import PlaybookJob, RunEnded
from runner.processes import marked
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.bench.goals import CONSOLE, Goal, judge, show_machine

RUNS: Final = 120
AT_ONCE: Final = 8
GOAL_CPU: Final = 0.20
GOAL_WALL: Final = 0.25
GOAL_MEMORY: Final = 0.5
_WORKER: Final = "bench"
_LONGEST_S: Final = 600.0
_HEAD: Final = "- hosts: all\n  gather_facts: false\n  tasks:\n"
_NO_OP: Final = f"{_HEAD}    - ansible.builtin.debug:\n        msg: nothing is done\n"
_WAIT: Final = f"{_HEAD}    - ansible.builtin.pause:\n        seconds: 30\n"
_LOCAL: Final = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What runs took together, in seconds."""

    cpu_s: float
    wall_s: float


def main() -> int:
    """Measure; return the exit status, which tells whether the goals are met."""
    show_machine()
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/dev/shm") as name:
        place = Path(name)
        plain, ours = _xargs(place), _supervised(place)
        plain_mb, our_mb = _plain_memory_mb(place), _supervised_memory_mb(place)
    ratios = (ours.cpu_s / plain.cpu_s, ours.wall_s / plain.wall_s, our_mb / plain_mb)
    table = Table("of a playbook run", "xargs ansible-playbook", "here", "ratio", "goal")
    rows = (
        ("CPU, s", plain.cpu_s / RUNS, ours.cpu_s / RUNS, GOAL_CPU),
        (f"time of {RUNS}, {AT_ONCE} at once, s", plain.wall_s, ours.wall_s, GOAL_WALL),
        ("memory (PSS), MB", plain_mb, our_mb, GOAL_MEMORY),
    )
    for (what, theirs, own, goal), ratio in zip(rows, ratios, strict=True):
        table.add_row(what, f"{theirs:.3g}", f"{own:.3g}", f"{ratio:.2f}", f"{goal:.2f}")
    CONSOLE.print(table)
    return judge(
        Goal(name=f"{what} of a playbook run against xargs", measured=ratio, limit=limit, unit="x")
        for what, ratio, limit in zip(
            ("CPU", "time", "memory"), ratios, (GOAL_CPU, GOAL_WALL, GOAL_MEMORY), strict=True
        )
    )


def _measured(work: Callable[[], None]) -> Cost:
    """Return what `work` takes, with all processes that it starts and waits for."""
    began, before = monotonic(), _cpu_s()
    work()
    return Cost(cpu_s=_cpu_s() - before, wall_s=monotonic() - began)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _environment(place: Path) -> dict[str, str]:
    return {**AnsibleInstallation().environment(place), **set_environment(is_ours=True)}


def _write(place: Path, content: str) -> Path:
    playbook = place / "playbook.yml"
    playbook.write_text(content)
    for run_id in range(RUNS):
        inventory = {"all": {"hosts": {f"site{run_id}": _LOCAL}}}
        (place / f"{run_id}.yml").write_text(json.dumps(inventory))
    return playbook


def _xargs(place: Path) -> Cost:
    playbook = _write(place, _NO_OP)
    names = "\n".join(str(place / f"{run_id}.yml") for run_id in range(RUNS))
    program = str(AnsibleInstallation().program)
    command = ["xargs", "-P", str(AT_ONCE), "-I", "{}", program, "-i", "{}", str(playbook)]

    def work() -> None:
        environment = _environment(place)
        subprocess.run(
            command, input=names, text=True, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=_LONGEST_S
        )

    return _measured(work)


class _Runs:
    """Runs of one playbook by a supervisor, as many at once as it has slots."""

    def __init__(self, place: Path, content: str) -> None:
        self._playbook = _write(place, content)
        self._ended = threading.Semaphore(0)
        self.supervisor = Supervisor(slots=AT_ONCE, worker=_WORKER, on_finished=self._finished, run_root=place / "runs")

    def submit(self, run_id: int) -> None:
        """Start one."""
        self.supervisor.submit(
            PlaybookJob(
                run_id=run_id,
                playbook=self._playbook,
                host=f"site{run_id}",
                host_vars=_LOCAL,
                secrets={},
                extra_vars={},
                deadline_s=_LONGEST_S,
                is_ours=True,
            )
        )

    def await_one(self) -> None:
        """Wait until one more has ended."""
        if not self._ended.acquire(timeout=_LONGEST_S):
            raise TimeoutError("no run ends")

    def _finished(self, result: RunEnded) -> None:
        if result.outcome is RunOutcome.FAILED:
            sys.stderr.write(f"{result.details}\n")
        self._ended.release()


def _supervised(place: Path) -> Cost:
    def work() -> None:
        runs = _Runs(place, _NO_OP)
        runs.supervisor.start()
        for run_id in range(1, RUNS + 1):
            if run_id > AT_ONCE:
                runs.await_one()
            runs.submit(run_id)
        for _ in range(AT_ONCE):
            runs.await_one()
        # With its template process, which is waited for and so counts too.
        runs.supervisor.stop()

    return _measured(work)


def _plain_memory_mb(place: Path) -> float:
    """Return the memory of one of some plain runs that wait."""
    playbook, program = _write(place, _WAIT), str(AnsibleInstallation().program)
    processes = [
        psutil.Popen(
            [program, "-i", str(place / f"{run_id}.yml"), str(playbook)],
            env=_environment(place),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for run_id in range(AT_ONCE)
    ]
    try:
        return _settled_mb(lambda: [part for each in processes for part in (each, *each.children(recursive=True))])
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _supervised_memory_mb(place: Path) -> float:
    runs = _Runs(place, _WAIT)
    runs.supervisor.start()
    for run_id in range(1, AT_ONCE + 1):
        runs.submit(run_id)
    try:
        return _settled_mb(lambda: marked(_WORKER))
    finally:
        runs.supervisor.stop()


def _settled_mb(processes: Callable[[], list[psutil.Process]]) -> float:
    """Return the memory of one of the runs once all of them wait, in MB."""
    largest = 0.0
    deadline = monotonic() + 25
    while monotonic() < deadline:
        sleep(1)
        found = processes()
        total = 0.0
        for process in found:
            try:
                total += process.memory_full_info().pss / 1e6
            except psutil.Error:
                continue
        largest = max(largest, total / AT_ONCE)
    return largest


if __name__ == "__main__":
    raise SystemExit(main())
