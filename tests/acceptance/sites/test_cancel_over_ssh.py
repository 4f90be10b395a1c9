"""A cancel over real SSH: what ends on the controller, what goes on at the site, and what turns that away."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.sites.ssh_controller import END_S, STRATEGY, SshController
from tests.support.ssh_server import HOST, SshServer
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(120)

# A proxy that ignores TERM and goes on when its client is dead, for as long as a file beside it exists.
DEAF_PROXY = f"""\
#!/bin/bash
# Ansible reads the client's errors to their end.
exec 2>/dev/null
trap '' TERM HUP PIPE
exec 3<>/dev/tcp/{HOST}/$1
cat <&3 &
cat >&3
kill -KILL $!
while [ -e "$0.is-deaf" ]; do sleep 0.2; done
"""


class HeldLock:
    """A lock file that a test holds, so that a playbook waits there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.take()

    def take(self) -> None:
        """Hold it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def free(self) -> None:
        """Let the next process have it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Free it for good."""
        os.close(self._descriptor)

    def waiting(self) -> set[int]:
        """Return the other processes that have the file open, those of root among them."""
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        search = ["find", "/proc", "-maxdepth", "3", "-path", "/proc/[0-9]*/fd/*", "-lname", str(self._path)]
        # It complains of processes that end meanwhile.
        found = subprocess.run([*prefix, *search, "-printf", "%h\\n"], check=False, capture_output=True, text=True)
        return {int(line.split("/")[2]) for line in found.stdout.splitlines()} - {os.getpid()}


@pytest.fixture
def site_lock(controller: SshController) -> Iterator[HeldLock]:
    """Hold the lock of the site."""
    lock = HeldLock(controller.backup / ".prestage.lock")
    yield lock
    lock.close()


def at_work(controller: SshController, lock: HeldLock) -> list[psutil.Process]:
    """Wait until a playbook waits at the lock; return its processes on the controller."""
    wait_for(lock.waiting, END_S, controller.service.tail)
    alive = controller.service.playbook_processes()
    pids = {process.pid for process in alive}
    last = [process for process in alive if process.name() == "ssh" or process.pid in lock.waiting()]
    tree = {above for process in last for above in (process, *process.parents()) if above.pid in pids}
    assert tree
    return sorted(tree, key=lambda process: process.pid)


def cancel(controller: SshController, processes: list[psutil.Process], grace_s: int = 30) -> dict[str, Any]:
    """Cancel the strategy; return the step when it has ended, with no process of its run left."""
    controller.ask("POST", f"{STRATEGY}/actions", {"action": "cancel", "grace-s": grace_s})
    return cancelled(controller, processes)


def cancelled(controller: SshController, processes: list[psutil.Process]) -> dict[str, Any]:
    """Wait until the strategy is aborted; return the step, with no process of its run left."""
    wait_for(lambda: controller.ask("GET", STRATEGY)["state"] == "aborted", END_S, controller.service.tail)
    assert set() == living(controller, processes)
    return dict(controller.ask("GET", f"{STRATEGY}/steps/edge"))


def living(controller: SshController, processes: list[psutil.Process]) -> set[psutil.Process]:
    """Return those that live; one that has ended and waits for its parent does not."""
    return set(processes) & set(controller.service.playbook_processes())


def status(controller: SshController) -> str | None:
    """Return the state of the prestage that the site shows."""
    shown: str | None = controller.ask("GET", "/v1.0/subclouds/edge")["prestage-status"]
    return shown


def go_on_to_images(controller: SshController, lock: HeldLock) -> list[psutil.Process]:
    """Let the packages of a site end that wait at its lock; return the processes of the images, which wait there."""
    controller.ask("PATCH", f"{STRATEGY}/steps/edge", {"held": True})
    lock.free()
    wait_for(lambda: not lock.waiting(), END_S)
    wait_for(lambda: controller.ask("GET", f"{STRATEGY}/steps/edge")["state"] == "prestaging-images", END_S)
    lock.take()
    controller.ask("PATCH", f"{STRATEGY}/steps/edge", {"held": False})
    return at_work(controller, lock)


def prepare_lock(controller: SshController) -> Path:
    """Return the lock file of the preparation on the controller."""
    return controller.root / "deploy" / controller.feeds.target / "prestage" / "shared" / ".prepare.lock"


def next_run(controller: SshController, server: SshServer) -> None:
    """Prestage the site anew; it must be complete."""
    controller.ask("DELETE", STRATEGY)
    step = controller.run_strategy(server.password)["edge"]
    assert ("complete", "") == (step["state"], step["details"])
    assert "complete" == status(controller)


def content(controller: SshController) -> dict[str, tuple[int, int]]:
    """Return inode and time of change of all files of the staged release."""
    files = (controller.backup / controller.feeds.target).rglob("*")
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files if path.is_file()}


def test_a_cancel_while_packages_are_prepared(controller: SshController, server: SshServer) -> None:
    """A cancel ends a site that waits for the preparation at once, and then the preparation's processes.

    The site is as it was, and the next run prepares.
    """
    controller.add("edge")
    lock = HeldLock(prepare_lock(controller))
    try:
        controller.begin_strategy(server.password)
        processes = at_work(controller, lock)
        controller.ask("POST", f"{STRATEGY}/actions", {"action": "cancel"})
        step = controller.ask("GET", f"{STRATEGY}/steps/edge")
        # The site waits for nothing; the preparation is stopped meanwhile.
        wait_for(lambda: not living(controller, processes) and not lock.waiting(), END_S)
    finally:
        lock.close()

    assert ("aborted", "cancelled in prestage-prepare by test") == (step["state"], step["details"])
    assert None is status(controller)
    next_run(controller, server)


@pytest.mark.parametrize("phase", ["prestaging-packages", "prestaging-images"])
def test_a_cancel_while_the_site_changes(
    controller: SshController, server: SshServer, site_lock: HeldLock, phase: str
) -> None:
    """A cancel ends the run on the controller; its module goes on at the site, and the site's lock turns it away.

    The module, which outlives its SSH connection, comes to the lock when the next run has taken over: it changes
    nothing. Between both the site shows that the prestage failed.
    """
    controller.add("edge")
    controller.begin_strategy(server.password)
    processes = at_work(controller, site_lock)
    if phase == "prestaging-images":
        processes = go_on_to_images(controller, site_lock)
    step = cancel(controller, processes)

    assert ("aborted", f"cancelled in {phase} by test") == (step["state"], step["details"])
    assert "failed" == status(controller)
    left = site_lock.waiting()
    assert 1 == len(left)
    for pid in left:
        psutil.Process(pid).suspend()
    site_lock.free()
    next_run(controller, server)
    staged = content(controller)
    for pid in left:
        psutil.Process(pid).resume()
    wait_for(lambda: not site_lock.waiting(), END_S)
    assert staged == content(controller)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, server: SshServer) -> Iterator[SshController]:
    """Give a controller for several tests, with a site behind a proxy command that ignores TERM."""
    made = SshController(tmp_path_factory.mktemp("shared"), server)
    add_behind_deaf_proxy(made, server)
    yield made
    made.service.end()


@contextmanager
def deaf_work(controller: SshController, server: SshServer, phase: str) -> Iterator[list[psutil.Process]]:
    """Give the processes of a phase that waits at a lock; one of them ignores TERM. In the end nothing is deaf."""
    is_prepare = phase == "prestage-prepare"
    is_deaf(controller).touch()
    lock = HeldLock(prepare_lock(controller) if is_prepare else controller.backup / ".prestage.lock")
    try:
        controller.begin_strategy(server.password)
        processes = at_work(controller, lock)
        if phase == "prestaging-images":
            processes = go_on_to_images(controller, lock)
        if is_prepare:
            # It runs on the controller itself, without the proxy. What is stopped takes no TERM.
            for pid in lock.waiting():
                psutil.Process(pid).suspend()
        else:
            processes += deaf(controller)
        yield processes
    finally:
        is_deaf(controller).unlink(missing_ok=True)
        lock.free()
        # Modules at the site outlive their connection, and would be taken for those of the next strategy.
        wait_for(lambda: not lock.waiting(), END_S)
        lock.close()


def ended_by_cancel(controller: SshController, processes: list[psutil.Process], phase: str, before: str | None) -> None:
    """Wait for the end of a cancelled strategy and of all its processes; check what step and site show."""
    wait_for(lambda: controller.ask("GET", STRATEGY)["state"] == "aborted", END_S, controller.service.tail)
    wait_for(lambda: not living(controller, processes), END_S, controller.service.tail)
    step = controller.ask("GET", f"{STRATEGY}/steps/edge")
    assert ("aborted", f"cancelled in {phase} by test") == (step["state"], step["details"])
    assert (before if phase == "prestage-prepare" else "failed") == status(controller)


@pytest.mark.parametrize("phase", ["prestage-prepare", "prestaging-packages", "prestaging-images"])
def test_a_deaf_process_ends_after_the_grace(shared: SshController, server: SshServer, phase: str) -> None:
    """A process that ignores TERM, such as one below an SSH client, is killed after the grace, in each phase."""
    before = status(shared)
    with deaf_work(shared, server, phase) as processes:
        shared.ask("POST", f"{STRATEGY}/actions", {"action": "cancel", "grace-s": 1})
        ended_by_cancel(shared, processes, phase, before)
    shared.ask("DELETE", STRATEGY)


@pytest.mark.parametrize("phase", ["prestage-prepare", "prestaging-packages", "prestaging-images"])
def test_a_worker_that_is_lost_while_it_cancels(shared: SshController, server: SshServer, phase: str) -> None:
    """A worker that is killed in the grace of a cancel loses nothing: its step ends as cancelled after its restart.

    The next run takes over.
    """
    before = status(shared)
    with deaf_work(shared, server, phase) as processes:
        shared.ask("POST", f"{STRATEGY}/actions", {"action": "cancel", "grace-s": 60})
        shared.service.kill()
        shared.service.start()
        ended_by_cancel(shared, processes, phase, before)
    next_run(shared, server)
    shared.ask("DELETE", STRATEGY)


def add_behind_deaf_proxy(controller: SshController, server: SshServer) -> None:
    """Register the site behind a proxy command that ignores TERM."""
    proxy = controller.root / "deaf-proxy"
    proxy.write_text(DEAF_PROXY)
    proxy.chmod(0o755)
    is_deaf(controller).touch()
    arguments = server.host_vars()["ansible_ssh_common_args"]
    controller.add("edge", ansible_ssh_common_args=f"{arguments} -o ProxyCommand='{proxy} %p'")


def is_deaf(controller: SshController) -> Path:
    """Return the file whose existence makes the proxy deaf."""
    return controller.root / "deaf-proxy.is-deaf"


def deaf(controller: SshController) -> list[psutil.Process]:
    """Return the processes of the proxy."""
    found = [process for process in controller.service.playbook_processes() if "deaf-proxy" in str(process.cmdline())]
    assert found
    return found
