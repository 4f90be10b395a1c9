"""Decides how many runs a machine can bear, and whether there is memory for one more."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

# Proportional memory of a run: 75 MB for Ansible's six processes and 25 MB for the child that hosts it (measured).
RUN_BYTES = 100 * 1000 * 1000

# Below this much available memory no further run starts while others are running.
FLOOR_BYTES = 3 * RUN_BYTES

# A run that waits for its site costs 0.2 % of a core, but its start costs 1.5 CPU seconds, and so does each phase.
_RUNS_PER_CORE = 32

# What a process of a run may have at least and at most: a large playbook takes half of the former.
_LEAST_PROCESS_BYTES = 256 * 1024 * 1024
_MOST_PROCESS_BYTES = 1024 * 1024 * 1024

_MOST_SLOTS = 250
_MEMORY_SHARE = 0.75

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one and return it; each run takes four, database and API more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def default_slots() -> int:
    """Return how many playbooks at once this machine bears: by memory, by cores, at least 1, at most 250.

    Examples: 2 cores and 4 GB give 30; 2 cores and 24 GB give 64; 16 cores and 64 GB give 250.
    """
    by_memory = int(_total_bytes() * _MEMORY_SHARE / RUN_BYTES)
    by_cores = len(os.sched_getaffinity(0)) * _RUNS_PER_CORE
    return max(1, min(by_memory, by_cores, _MOST_SLOTS))


def process_memory_bytes(slots: int) -> int:
    """Return how much memory (RLIMIT_DATA) one process of a run may have, so that no site takes that of the others.

    It is the share of one of `slots` in the memory for runs, but 256 MiB at least and 1 GiB at most.
    """
    share = int(_total_bytes() * _MEMORY_SHARE / slots)
    return min(max(share, _LEAST_PROCESS_BYTES), _MOST_PROCESS_BYTES)


def available_bytes() -> int:
    """Return the memory that new processes can have, by the machine and by our control group (version 2)."""
    available = _machine_bytes("MemAvailable")
    limit, used = _cgroup_number("memory.max"), _cgroup_number("memory.current")
    if limit is not None and used is not None:
        available = min(available, limit - used + _reclaimable_bytes())
    return max(0, available)


def _total_bytes() -> int:
    total = _machine_bytes("MemTotal")
    return min(total, _cgroup_number("memory.max") or total)


def _machine_bytes(name: str) -> int:
    """Return a value of /proc/meminfo (proc_meminfo(5)), which has kibibytes."""
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_MEMINFO} has no {name}")


def _reclaimable_bytes() -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in (_CGROUP / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    return 0


def _cgroup_number(name: str) -> int | None:
    # "max" means no limit; no file means no version 2 control group, or the root one.
    with contextlib.suppress(OSError, ValueError):
        return int((_CGROUP / name).read_text())
    return None
