"""Limits of processes: memory dumps, niceness, orphans, an end with the parent, memory, and whether a run met it.

The memory that an answer of a site takes in Ansible is many times its size, and a site chooses what it answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from typing import Final

_MIB: Final = 1024 * 1024

# With this part of the limit in use a process came to it; a single large piece may not have fitted long before.
_CERTAIN: Final = 0.85
_POSSIBLE: Final = 0.4

# What Ansible and Python say when memory is short; the first two say nothing else.
_WORDS: Final = (
    "Task failed.",
    "queue send failure",
    "MemoryError",
    "deserialization failed",
    "dead state",
    "killed by a signal",
)

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_DUMPABLE: Final = 4


def limit_memory(limit_bytes: int) -> None:
    """Limit the memory (RLIMIT_DATA) of this process and of every process below it, each to `limit_bytes`.

    A lower limit that is there already stays.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = 2 * limit_bytes if hard == resource.RLIM_INFINITY else min(hard, 2 * limit_bytes)
    resource.setrlimit(resource.RLIMIT_DATA, (min(limit_bytes, most), most))


def take_reserve() -> None:
    """Give this process twice the memory that those below it have, so that it outlives them and can report.

    Call it once they are started: a limit is inherited. Repeating it does nothing.
    """
    _, reserve = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (reserve, reserve))


def memory_remark(reason: str) -> str:
    """Return a sentence for a failed run, of which `reason` is known, if it failed for want of memory; else nothing.

    Call it when the run's processes have ended.
    """
    _, reserve = resource.getrlimit(resource.RLIMIT_DATA)
    if reserve == resource.RLIM_INFINITY:
        return ""
    limit_bytes = reserve // 2
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    own_part = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / reserve
    part = max(peak_bytes / limit_bytes, own_part)
    if part < (_POSSIBLE if any(word in reason for word in _WORDS) else _CERTAIN):
        return ""
    return (
        f"a process of the run came to its limit of {limit_bytes // _MIB} MiB of memory: what the site answered, or "
        "what the playbook makes of it, is too large"
    )


def forbid_memory_dumps() -> None:
    """Forbid core files for this process and all that it starts, and make itself not dumpable.

    A process that is not dumpable cannot be traced, nor its memory or environment be read, but by root; that ends when
    it executes another program, which then has the limit alone. A kernel that pipes core files to a program passes
    over the limit (core(5)); systemd-coredump, for one, keeps to it by itself. Repeating it does nothing.

    Raises:
        OSError: The kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "PR_SET_DUMPABLE")


def adopt_orphans() -> None:
    """Become the new parent of every orphan below this process, instead of init.

    Ansible starts its workers in sessions of their own, and tasks may clear their environment; so that the tree of a
    run stays complete whatever they do, kinship must not be lost. Best effort: the marker is the second way to find
    them.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent ends, however that is; the parent has one thread.

    That is no more so once it has another parent.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def yield_cores(pid: int, niceness: int) -> None:
    """Have a process, and every process that it starts from now on, run at `niceness` at least (see nice(2)).

    A process that is nicer already stays so, and one that has ended is passed over. 0: of this process.
    """
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, max(niceness, os.getpriority(os.PRIO_PROCESS, pid)))
