"""Finds and ends the processes of runs, by kinship and by the marker that each of them inherits in its environment.

The environment of the child that hosts a run can be read by root alone, because it is not dumpable: its arguments hold
the marker too. Linux only: reads procfs. Used by the child for its own tree, and by the supervisor for what a dead
child left.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

from runner.errors import ProcessesLeftError

# Environment variable that marks every process of a run: `<worker>:<child id>`.
MARKER = "PRESTAGER_RUN"
# Option with the same value in the arguments of a run's child.
RUN_OPTION = "--run"

# Option of the processes that fork children, with the name of the worker installation; their children inherit it.
TEMPLATE_OPTION = "--template-of"

_WORKER_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")

# Ansible hands a password to ssh in a shared memory segment of this name (ansible.plugins.connection.ssh).
_ASKPASS_SEGMENT = re.compile(rb"(?:^|\0)_ANSIBLE_SSH_ASKPASS_SHM=(psm_[0-9a-f]+)\0")

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108

_POLL_S = 0.02

Finder = Callable[[], list[psutil.Process]]


def marker_value(worker: str, child_id: str) -> str:
    """Return the marker of one child of `worker`."""
    if not _WORKER_NAME.fullmatch(worker):
        raise ValueError(f"a worker's name is made of letters, digits, '.', '_' and '-', not {worker!r}")
    return f"{worker}:{child_id}"


def marked(worker: str, child_id: str = "") -> list[psutil.Process]:
    """Return the living processes of one child of `worker`, or of all its children; never this very process."""
    value = f"{worker}:{child_id}".encode() + (b"\0" if child_id else b"")
    in_environment, in_arguments = f"\0{MARKER}=".encode() + value, f"\0{RUN_OPTION}\0".encode() + value
    return _living(
        pid
        for pid in _all_processes()
        if pid != os.getpid() and (in_environment in b"\0" + _environ(pid) or in_arguments in _arguments(pid))
    )


def templates(worker: str) -> list[psutil.Process]:
    """Return the living processes from which runs of `worker` are forked, and what was forked from them."""
    option = f"\0{TEMPLATE_OPTION}\0{worker}\0".encode()
    return _living(pid for pid in _all_processes() if pid != os.getpid() and option in _arguments(pid))


def _all_processes() -> Iterator[int]:
    return (int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit())


def descendants() -> list[psutil.Process]:
    """Return the living processes below this one. Complete for orphans only in a subreaper (see `adopt_orphans`)."""
    return [process for process in psutil.Process().children(recursive=True) if _is_alive(process)]


def end_processes(
    find: Finder, *, grace_s: float, over: Callable[[], bool] = lambda: True, give_up_s: float = 10.0
) -> None:
    """Send TERM to what `find` returns, and after `grace_s` seconds KILL to what is left, until nothing is left.

    Returns as soon as `find` returns nothing and `over` is true. Also removes the passwords that ended ssh
    connections left in shared memory, which nothing else removes.

    Raises:
        ProcessesLeftError: Something is left `give_up_s` seconds after the grace.
    """
    kill_at = time.monotonic() + grace_s
    asked: set[psutil.Process] = set()
    segments: set[str] = set()
    while (found := find()) or not over():
        segments.update(_askpass_segments(found))
        if time.monotonic() < kill_at:
            _signal(set(found) - asked, signal.SIGTERM)
            asked.update(found)
        elif time.monotonic() < kill_at + give_up_s:
            # Stopped first, so that none forks a successor while the others are being killed.
            _signal(found, signal.SIGSTOP)
            _signal(found, signal.SIGKILL)
        else:
            raise ProcessesLeftError(f"still there after SIGKILL: {[process.pid for process in found]}")
        time.sleep(_POLL_S)
    for name in segments:
        (_SHARED_MEMORY / name).unlink(missing_ok=True)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        # psutil compares start times, so a reused pid is never hit.
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _askpass_segments(processes: Iterable[psutil.Process]) -> set[str]:
    return {name.decode() for process in processes for name in _ASKPASS_SEGMENT.findall(_environ(process.pid))}


def _environ(pid: int) -> bytes:
    return _proc_file(pid, "environ")


def _arguments(pid: int) -> bytes:
    return _proc_file(pid, "cmdline")


def _proc_file(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _living(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return [process for process in found if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    except psutil.Error:
        return False
