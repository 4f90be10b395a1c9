"""Room: slots, memory, disk, and many runs at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runner.errors import NoFreeSlotError
from runner.interface import PlaybookJob
from runner.processes import marked
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import PATIENCE_S, Results, Waiting
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]

MakeJob = Callable[..., PlaybookJob]

QUICK = "- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: hello}}]\n"

LOOPING_PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - debug: {msg: "{{ item }}"}
      loop: "{{ range(300) | list }}"
    - shell: "touch {{ ready }}; while [ ! -e {{ go_on }} ]; do sleep 0.05; done"
"""


# A service in a process of its own, where descriptors can be taken away without harm to anybody else.
STARVED = """
import json, os, resource, sys, threading
from pathlib import Path
from runner.interface import PlaybookJob
from runner.supervisor import Supervisor

settings = json.loads(sys.argv[1])
results, ended = [], threading.Event()

def finished(result):
    results.append({"outcome": result.outcome, "details": result.details})
    ended.set()

def run(run_id):
    job = {**settings["job"], "run_id": run_id, "playbook": Path(settings["job"]["playbook"])}
    ended.clear()
    supervisor.submit(PlaybookJob(**job))
    ended.wait()

supervisor = Supervisor(
    slots=1, worker=settings["worker"], on_finished=finished, run_root=Path(settings["run_root"]), warm=0
)
supervisor.start()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    for descriptor in taken[:settings["left"]]:
        os.close(descriptor)
run(1)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
run(2)
supervisor.stop()
print(json.dumps(results))
"""


@pytest.mark.parametrize("left", [0, 1, 4, 7])
def test_run_that_cannot_be_hosted_may_be_tried_again(
    make_job: MakeJob, worker: str, run_root: Path, left: int
) -> None:
    """Without descriptors for a child the run is STOPPED, for that says nothing of its site; with them the next works.

    A child takes eight for a moment: no process of it is left, wherever its start breaks off.
    """
    job = make_job(QUICK)
    settings = {
        "worker": worker,
        "run_root": str(run_root),
        "job": {**job.__dict__, "playbook": str(job.playbook)},
        "left": left,
    }
    done = subprocess.run(
        [sys.executable, "-c", STARVED, json.dumps(settings)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert [
        {"outcome": "lost", "details": "the run could not be hosted: Too many open files"},
        {"outcome": "succeeded", "details": ""},
    ] == json.loads(done.stdout)
    assert [] == marked(worker)


def test_events_leave_no_files(
    supervisor: Supervisor, make_job: MakeJob, results: Results, run_root: Path, tmp_path: Path
) -> None:
    """A loop of 300 items does not make the private directory grow."""
    ready, go_on = tmp_path / "ready", tmp_path / "go-on"
    supervisor.submit(make_job(LOOPING_PLAYBOOK, extra_vars={"ready": str(ready), "go_on": str(go_on)}))
    wait_for(ready.exists)
    wait_for(lambda: len([path for path in run_root.rglob("*") if path.is_file()]) < 15)
    go_on.touch()

    assert RunOutcome.SUCCEEDED is results.wait().outcome


def test_many_runs_at_once(make_supervisor: Callable[..., Supervisor], make_job: MakeJob, results: Results) -> None:
    """Ten jobs at once all succeed, each with exactly one result, and with no thread per run."""
    supervisor = make_supervisor(slots=10)
    threads_before = threading.active_count()
    for run_id in range(1, 11):
        supervisor.submit(make_job(QUICK, run_id=run_id))
    wait_for(lambda: len(results.all) >= 1)
    threads = threading.active_count() - threads_before
    for run_id in range(1, 11):
        assert RunOutcome.SUCCEEDED is results.wait(run_id).outcome
    supervisor.stop()

    assert list(range(1, 11)) == sorted(result.run_id for result in results.all)
    # The event loop's executor removes directories and sweeps with a few threads of its own.
    assert threads < 8


def test_short_memory_refuses_a_second_run(
    make_supervisor: Callable[..., Supervisor], make_job: MakeJob, waiting: Waiting, results: Results
) -> None:
    """With too little memory a job is refused while another runs; when nothing runs one is always accepted."""
    supervisor = make_supervisor(available_memory=lambda: 0)
    supervisor.submit(waiting.job)
    with pytest.raises(NoFreeSlotError, match="memory"):
        supervisor.submit(make_job(QUICK, run_id=2))
    supervisor.stop_run(1, "enough")
    results.wait(1)
    supervisor.submit(make_job(QUICK, run_id=2))

    assert RunOutcome.SUCCEEDED is results.wait(2).outcome, results.wait(2).details


@pytest.fixture
def small_file_system() -> Iterator[Path]:
    """A file system of 20 MB, with a short path."""
    place = Path(tempfile.mkdtemp(prefix="pt-", dir="/dev/shm"))
    command = ["mount", "-t", "tmpfs", "-o", "size=20m", "none", place]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        place.rmdir()
        pytest.skip("only root may mount")
    yield place
    subprocess.run(["umount", place], check=True)
    place.rmdir()


@pytest.mark.parametrize("left_bytes", [0, 16 * 1024])
def test_full_file_system_fails_the_run_and_names_the_place(
    small_file_system: Path,
    make_supervisor: Callable[..., Supervisor],
    make_job: MakeJob,
    results: Results,
    left_bytes: int,
) -> None:
    """A run without room for its files fails and says where; with room again the next one works."""
    supervisor = make_supervisor(run_root=small_file_system)
    filler = small_file_system / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(filler, filler.stat().st_size - left_bytes)
    supervisor.submit(make_job(QUICK))
    failed = results.wait(1)
    filler.unlink()
    supervisor.submit(make_job(QUICK, run_id=2))

    assert RunOutcome.FAILED is failed.outcome
    assert str(small_file_system) in failed.details
    assert "no space left" in failed.details.lower()
    assert RunOutcome.SUCCEEDED is results.wait(2).outcome, results.wait(2).details
