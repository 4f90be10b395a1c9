"""Room: slots, memory, disk, and many runs at once."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from run_watch import Results, Waiting

from runner.jobs import NoFreeSlotError, Outcome, PlaybookJob
from runner.supervisor import Supervisor
from tests.waiting import wait_for

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


def test_events_leave_no_files(
    supervisor: Supervisor, make_job: MakeJob, results: Results, run_root: Path, tmp_path: Path
) -> None:
    """A loop of 300 items does not make the private directory grow."""
    ready, go_on = tmp_path / "ready", tmp_path / "go-on"
    supervisor.submit(make_job(LOOPING_PLAYBOOK, extra_vars={"ready": str(ready), "go_on": str(go_on)}))
    wait_for(ready.exists)
    wait_for(lambda: len([path for path in run_root.rglob("*") if path.is_file()]) < 15)
    go_on.touch()

    assert Outcome.SUCCEEDED is results.wait().outcome


def test_twenty_runs_at_once(make_supervisor: Callable[..., Supervisor], make_job: MakeJob, results: Results) -> None:
    """Twenty jobs at once all succeed, each with exactly one result, and with no thread per run."""
    supervisor = make_supervisor(slots=20)
    threads_before = threading.active_count()
    for run_id in range(1, 21):
        supervisor.submit(make_job(QUICK, run_id=run_id))
    wait_for(lambda: len(results.all) >= 1)
    threads = threading.active_count() - threads_before
    for run_id in range(1, 21):
        assert Outcome.SUCCEEDED is results.wait(run_id).outcome
    supervisor.stop()

    assert list(range(1, 21)) == sorted(result.run_id for result in results.all)
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
    supervisor.cancel(1, "enough")
    results.wait(1)
    supervisor.submit(make_job(QUICK, run_id=2))

    assert Outcome.SUCCEEDED is results.wait(2).outcome, results.wait(2).details


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

    assert Outcome.FAILED is failed.outcome
    assert str(small_file_system) in failed.details
    assert "no space left" in failed.details.lower()
    assert Outcome.SUCCEEDED is results.wait(2).outcome, results.wait(2).details
