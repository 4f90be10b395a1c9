"""No process that knows a secret leaves its memory in a file, and none of them is lost to the sweep for that."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runner.processes import marked
from tests.integration.runner.run_watch import Waiting, hosts_of_runs
from tests.integration.runner.test_dead_supervisor import SERVICE
from tests.support.unprivileged import as_user, give, let_others_enter, python_as_user
from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).resolve().parents[3]
DUMP = "import os; {before}; secret = 'S3cr3t' * 1000; os.abort()"
FORBID = "from runner.process_limits import forbid_memory_dumps; forbid_memory_dumps()"
# What starts when a service of the same worker starts: the sweep, and no run.
SWEEP = """
import sys
from pathlib import Path
from runner.supervisor import Supervisor

supervisor = Supervisor(slots=1, worker=sys.argv[1], on_finished=print, run_root=Path(sys.argv[2]), warm=0)
supervisor.start()
supervisor.stop()
"""


def allow_core_files() -> None:
    """Take the limit away that the machine may have, and that the shell of a job in the background ignores SIGQUIT."""
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    wanted = hard if os.getuid() else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_CORE, (wanted, wanted))


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python of the unprivileged user that may leave core files in `place`."""
    return subprocess.Popen(
        python_as_user("-c", *arguments),
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=allow_core_files,  # noqa: PLW1509 - no threads
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def abort(place: Path, before: str) -> int:
    """Run a program that dumps, and return how it ended."""
    process = start(place, DUMP.format(before=before))
    process.communicate()
    return process.returncode


@pytest.fixture
def place() -> Iterator[Path]:
    """Give an empty directory of the unprivileged user where core files are written; skip where none is."""
    path = give(Path(tempfile.mkdtemp(prefix="pt-", dir="/dev/shm")))
    assert -signal.SIGABRT == abort(path, "pass")
    cores = list(path.iterdir())
    for core in cores:
        core.unlink()
    if not cores:
        path.rmdir()
        pytest.skip("this machine writes no core files into the working directory")
    yield path
    shutil.rmtree(path)


class Service:
    """A service of the unprivileged user with one running job."""

    def __init__(self, place: Path, worker: str, waiting: Waiting, tmp_path: Path, *, preload: bool) -> None:
        self.run_root = place / "runs"
        self.run_root.mkdir(mode=0o700)
        give(self.run_root)
        # The playbook is read and its sign written by the user too.
        tmp_path.chmod(0o777)
        let_others_enter(tmp_path)
        job = {**waiting.job.__dict__, "playbook": str(waiting.job.playbook)}
        job["secrets"] = {"ansible_become_pass": "S3cr3t-of-sites"}
        settings = {
            "worker": worker,
            "run_root": str(self.run_root),
            "silence_limit_s": 30.0,
            "preload": preload,
            "job": job,
        }
        self.process = start(place, SERVICE, json.dumps(settings))
        self._waiting = waiting

    def wait_until_running(self) -> None:
        """Wait until the only task runs."""
        self._waiting.wait_until_running()

    def kill(self) -> None:
        """End it without leaving it time for anything."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it, and show what it said where the test fails."""
        self.process.kill()
        sys.stdout.write(self.process.communicate()[0])


@pytest.fixture
def service(place: Path, worker: str, waiting: Waiting, tmp_path: Path, preload: bool) -> Iterator[Service]:
    """Give a service with a running job."""
    made = Service(place, worker, waiting, tmp_path, preload=preload)
    try:
        made.wait_until_running()
        yield made
    finally:
        made.end()


def children(worker: str) -> list[psutil.Process]:
    """Return the processes that host runs or wait for one."""
    return hosts_of_runs(worker)


def test_a_process_that_forbids_it(place: Path) -> None:
    """A process that breaks off after it forbade dumps leaves no core file."""
    assert -signal.SIGABRT == abort(place, FORBID)
    assert [] == list(place.iterdir())


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGABRT, signal.SIGSEGV], ids=lambda number: number.name)
def test_no_process_of_a_run_leaves_a_core_file(
    service: Service, place: Path, worker: str, number: signal.Signals
) -> None:
    """The child, Ansible and tasks leave no core file when they are made to dump."""
    processes = marked(worker)
    playbooks = [process for process in processes if any("ansible-playbook" in word for word in process.cmdline())]
    assert children(worker)
    assert playbooks
    for process in processes:
        process.send_signal(number)
    wait_for(lambda: not any(process.is_running() for process in processes))

    assert [] == [path for path in place.rglob("*core*") if path.is_file()]


def test_a_child_cannot_be_looked_into_and_is_found(service: Service, worker: str) -> None:
    """The child that holds secrets hides its memory and environment from its user, and is swept all the same."""
    found = children(worker)
    looks = [
        subprocess.run(as_user("cat", f"/proc/{child.pid}/{name}"), check=False, capture_output=True).returncode
        for child in found
        for name in ("environ", "mem", "maps")
    ]
    # Frozen, so that they do not end by themselves when the service is gone.
    for child in found:
        child.suspend()
    service.kill()
    assert len(found) == 2
    assert 0 not in looks
    assert found[0] in marked(worker)

    swept = subprocess.run(
        python_as_user("-c", SWEEP, worker, service.run_root),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (0, "") == (swept.returncode, swept.stderr)
    assert [] == marked(worker)
    assert [] == [path for path in service.run_root.iterdir() if path.is_dir()]
