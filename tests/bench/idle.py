"""Memory of an installation at rest, and the CPU until `prestager up` is ready, against the goals.

Run it with `make bench`, or alone: `python -m tests.bench.idle`. It starts a RabbitMQ and a PostgreSQL of its own, and
the processes as the command `prestager` starts them. Memory is the proportional set size (PSS): pages that processes
share are counted in parts. The exit status says whether every goal is met.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Final

import psutil

from tests.bench.goals import CONSOLE, Goal, judge, show_machine
from tests.support.installation_processes import InstallationProcesses
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

# Readings of memory that must agree, by how much, and seconds between two of them.
_READINGS: Final = 4
_INTERVAL_S: Final = 1.0
_STEADY_MB: Final = 0.3
_PATIENCE_S: Final = 120.0
_STARTS: Final = 5
_READS: Final = ("/v1.0/sw-update-strategy/steps", "/v1.0/subclouds", "/v1.0/subcloud-groups")


# Ways to start the three processes: each by a command of its own, or all by one that forks them.
_ONE_BY_ONE: Final = "started one by one"
_SPLIT: Final = "prestager up --split"


def main() -> int:
    """Measure, print each goal, and return the exit status."""
    show_machine()
    return judge(chain(_memory(_SPLIT), _memory(_ONE_BY_ONE), _start()))


def _memory(way: str) -> Iterable[Goal]:
    """P6: API, coordinator and worker at rest, and the preload servers of the worker apart."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prestager-bench-")))
        postgres, rabbitmq = stack.enter_context(PostgresServer()), stack.enter_context(RabbitmqServer())
        api = ServiceProcess(
            directory,
            DATABASE_URL=postgres.url(postgres.create_database()),
            BROKER_URL=rabbitmq.url,
            SECRET_KEY=b64encode(b"k" * 32).decode(),
        )
        api.prepare()
        pids = _started_split(stack, api) if way == _SPLIT else _started_one_by_one(stack, api, directory)
        for path in _READS:
            api.get(path)
        memory = _at_rest(pids)
    shown = ", ".join(f"{name} {megabytes:.1f}" for name, megabytes in memory.items())
    CONSOLE.print(f"       {way}, MB of PSS: {shown}")
    preload = memory.pop(_PRELOAD)
    yield Goal(name=f"api + coordinator + worker at rest, {way}", measured=sum(memory.values()), limit=180, unit="MB")
    yield Goal(name=f"preload servers of the worker, {way}", measured=preload, limit=90, unit="MB")


def _started_one_by_one(stack: ExitStack, api: ServiceProcess, directory: Path) -> dict[str, int]:
    parts = InstallationProcesses(directory=directory, api=api)
    stack.callback(parts.end)
    return {name: parts.part(name, name).pid for name in _ROLES}


def _started_split(stack: ExitStack, api: ServiceProcess) -> dict[str, int]:
    stack.callback(api.end)
    api.environment["PRESTAGER_READY_FILE"] = str(api.log.with_name("ready"))
    api.launch("up --split")
    wait_for(api.log.with_name("ready").exists, _PATIENCE_S, api.tail)
    first = psutil.Process(api.pid)
    # In the order in which they were forked.
    return {"first": api.pid, **dict(zip(_ROLES, sorted(child.pid for child in first.children()), strict=True))}


_PRELOAD: Final = "preload servers"
_ROLES: Final = ("api", "coordinator", "worker")


def _at_rest(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the memory of each process in MB, and of the worker's children, when it changes no more."""
    readings: list[dict[str, float]] = []
    read_at_s = -_INTERVAL_S

    def are_steady() -> bool:
        nonlocal read_at_s
        if monotonic() - read_at_s < _INTERVAL_S:
            return False
        read_at_s = monotonic()
        readings.append(_read(pids))
        sums = [sum(one.values()) for one in readings[-_READINGS:]]
        return len(sums) == _READINGS and max(sums) - min(sums) < _STEADY_MB

    wait_for(are_steady, _PATIENCE_S, lambda: str(readings[-1]))
    return readings[-1]


def _read(pids: Mapping[str, int]) -> dict[str, float]:
    memory = {name: _pss_mb(psutil.Process(pid)) for name, pid in pids.items()}
    children = psutil.Process(pids["worker"]).children(recursive=True)
    return memory | {_PRELOAD: sum(map(_pss_mb, children))}


def _pss_mb(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _start() -> Iterable[Goal]:
    """P6: CPU of `prestager up` until it is ready, against a bare interpreter."""
    with tempfile.TemporaryDirectory(prefix="prestager-bench-") as directory:
        service = ServiceProcess(Path(directory), PRELOAD="false")
        service.prepare()
        ready = []
        for _ in range(_STARTS):
            service.start()
            ready.append(_cpu_s(psutil.Process(service.pid)))
            service.stop()
    bare = min(_bare_cpu_s() for _ in range(_STARTS))
    CONSOLE.print(f"       prestager up: {min(ready):.2f} s of CPU until it is ready; a bare interpreter {bare:.3f} s")
    yield Goal(name="CPU until `prestager up` is ready", measured=min(ready) / bare, limit=60, unit="x")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _bare_cpu_s() -> float:
    program = "import resource; used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_utime + used.ru_stime)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
