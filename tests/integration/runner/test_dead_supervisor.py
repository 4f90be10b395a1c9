"""The death or freeze of the service ends its runs; what it left is swept when it starts again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runner.errors import WorkerNameTakenError
from runner.processes import marked, templates
from runner.supervisor import Supervisor
from tests.integration.runner.run_watch import Results, Waiting, hosts_of_runs, run_directories
from tests.support.waiting import BUSY_FACTOR, PATIENCE_S, wait_for

ROOT = Path(__file__).resolve().parents[3]

# A service in a process of its own: runs one job and prints its result.
SERVICE = """
import json, sys, threading
from pathlib import Path
from runner.interface import PlaybookJob
from runner.supervisor import Supervisor

settings = json.loads(sys.argv[1])
ended = threading.Event()

def finished(result):
    print(json.dumps({"outcome": result.outcome, "details": result.details}), flush=True)
    ended.set()

supervisor = Supervisor(
    slots=2, worker=settings["worker"], on_finished=finished, run_root=Path(settings["run_root"]),
    silence_limit_s=settings["silence_limit_s"], warm=1, preload=settings["preload"],
)
supervisor.start()
job = settings["job"]
supervisor.submit(PlaybookJob(**{**job, "playbook": Path(job["playbook"])}))
ended.wait()
supervisor.stop()
"""


class Service:
    """A service with one running job, and a second, warm child."""

    def __init__(
        self, worker: str, run_root: Path, waiting: Waiting, *, preload: bool, silence_limit_s: float = 30.0
    ) -> None:
        job = {**waiting.job.__dict__, "playbook": str(waiting.job.playbook)}
        settings = {
            "worker": worker,
            "run_root": str(run_root),
            "silence_limit_s": silence_limit_s,
            "preload": preload,
            "job": job,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, json.dumps(settings)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        waiting.wait_until_running()
        self._worker = worker
        wait_for(lambda: len(self.children()) == 2)

    def children(self) -> list[psutil.Process]:
        """Return the child processes that host a run or wait for one."""
        return hosts_of_runs(self._worker)

    def end(self) -> None:
        """End the process, however it is."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start_service(worker: str, run_root: Path, waiting: Waiting, preload: bool) -> Iterator[Callable[..., Service]]:
    """Starts services with a running job."""
    services: list[Service] = []

    def start(**options: float) -> Service:
        services.append(Service(worker, run_root, waiting, preload=preload, **options))
        return services[-1]

    yield start
    for service in services:
        service.end()


def all_of(worker: str) -> list[psutil.Process]:
    """Return the processes of the worker's runs, and those that they are forked from."""
    return [*marked(worker), *templates(worker)]


def directories(run_root: Path) -> list[Path]:
    """Return the private directories."""
    return [path for path in run_root.iterdir() if path.is_dir()]


def test_kill_of_the_service_ends_everything(
    start_service: Callable[..., Service], waiting: Waiting, worker: str, run_root: Path
) -> None:
    """5 s after kill -9 of the service no process of its runs is left, and no file, long before its silence counts."""
    service = start_service(silence_limit_s=600.0)
    service.process.kill()

    wait_for(lambda: not all_of(worker) and not waiting.processes() and not directories(run_root), 5.0 * BUSY_FACTOR)


def test_frozen_service_loses_its_runs(
    start_service: Callable[..., Service], waiting: Waiting, worker: str, run_root: Path
) -> None:
    """A service that is frozen longer than the silence limit finds its run stopped when it goes on."""
    service = start_service(silence_limit_s=5.0)
    service.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not marked(worker) and not waiting.processes() and not run_directories(run_root, worker))
    service.process.send_signal(signal.SIGCONT)
    output, _ = service.process.communicate(timeout=PATIENCE_S)

    assert {"outcome": "lost", "details": "no sign of life from the worker for 5 s"} == json.loads(output)
    assert [] == directories(run_root)


def test_start_sweeps_what_a_predecessor_left(
    start_service: Callable[..., Service],
    make_supervisor: Callable[..., Supervisor],
    results: Results,
    waiting: Waiting,
    worker: str,
    run_root: Path,
) -> None:
    """Processes and files left by an earlier life of this worker are gone when start returns; others' stay."""
    service = start_service()
    children = service.children()
    for child in children:
        child.suspend()
    service.process.kill()
    service.process.wait()
    for child in children:
        child.kill()
    wait_for(lambda: not any(child.is_running() for child in children))
    assert marked(worker) != []
    assert directories(run_root) != []

    other = Supervisor(slots=1, worker=f"{worker}-2", on_finished=results, run_root=run_root, warm=0)
    other.start()
    other.stop()
    assert marked(worker) != []

    make_supervisor()

    assert [] == marked(worker)
    assert [] == directories(run_root)


def test_worker_names_are_exclusive(
    make_supervisor: Callable[..., Supervisor], results: Results, worker: str, run_root: Path
) -> None:
    """A second supervisor of the same name does not start: its sweep would kill the first one's runs."""
    make_supervisor()
    with pytest.raises(WorkerNameTakenError):
        Supervisor(slots=1, worker=worker, on_finished=results, run_root=run_root).start()
