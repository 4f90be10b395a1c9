"""The processes of `prestager up --split`: real ones, over SQLite and a broker that is away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.process import settings_of_part
from service.role_processes import SILENCE_S, RoleProcesses
from service.roles import ProcessRole
from service.settings import Settings
from tests.support.service_process import ServiceProcess
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import wait_for


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """Give a service that is not started; it waits for its broker."""
    made = ServiceProcess(
        tmp_path,
        BROKER_URL=f"amqp://{HOST}:{free_port()}/",
        LOG_FORMAT="json",
        PRELOAD="false",
        READY_FILE=tmp_path / "ready",
    )
    made.prepare()
    yield made
    made.end()


def ready(service: ServiceProcess) -> dict[str, int]:
    """Return the newest process that said to be ready of each role."""
    lines = service.log.read_text().splitlines() if service.log.exists() else []
    records: list[dict[str, Any]] = [json.loads(line) for line in lines if line.startswith("{")]
    return {one["roles"][0]: one["pid"] for one in records if one["event"] == "service.ready"}


def test_its_life(service: ServiceProcess, tmp_path: Path) -> None:
    """Each role has a process; one that is killed is started anew, the others go on, and a TERM ends all with 0.

    The file says that the service is ready while all of them are.
    """
    file = tmp_path / "ready"
    service.launch("up --split")
    wait_for(file.exists, story=service.tail)
    first = ready(service)
    assert set(ProcessRole) == first.keys()
    assert set(first.values()) == {child.pid for child in psutil.Process(service.pid).children()}

    os.kill(first["coordinator"], signal.SIGKILL)
    wait_for(lambda: ready(service)["coordinator"] != first["coordinator"], story=service.tail)
    wait_for(file.exists, story=service.tail)

    assert {**first, "coordinator": 0} == {**ready(service), "coordinator": 0}
    assert 0 == service.stop()
    assert not any(map(psutil.pid_exists, ready(service).values()))
    assert not file.exists()


def test_its_first_process_is_killed(service: ServiceProcess) -> None:
    """When the process is killed that looks after the others, they end in order."""
    service.launch("up --split")
    wait_for(lambda: len(ready(service)) == len(ProcessRole), story=service.tail)

    service.kill()

    wait_for(lambda: not any(map(psutil.pid_exists, ready(service).values())), story=service.tail)
    assert 3 == service.log.read_text().count('"service.stopped"')


def test_one_that_cannot_start(service: ServiceProcess) -> None:
    """When a part cannot start at first, as where the API's port is taken, all end, with 1 and the reason."""
    service.environment["PRESTAGER_LISTEN"] = "192.0.2.1:8119"
    service.launch("up --split")
    process = psutil.Process(service.pid)

    wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE, story=service.tail)

    assert 1 == service.stop()
    assert "PRESTAGER_LISTEN" in service.tail()


def test_a_silent_part() -> None:
    """A part that was ready and gives no sign of life for a minute is killed; one that is starting is waited for."""
    with closing(RoleProcesses()) as processes:
        _kill_one(processes)


def _kill_one(processes: RoleProcesses) -> None:
    sleepers = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in processes.parts]
    for part, sleeper, is_ready in zip(processes.parts, sleepers, (True, True, False), strict=True):
        part.pid, part.is_ready, part.heard_at = sleeper.pid, is_ready, 0.0
    processes.parts[1].heard_at = 1.0

    processes.kill_silent(SILENCE_S + 0.5)

    assert [-signal.SIGKILL, 0, 0] == [_end(sleeper) for sleeper in sleepers]


def _end(sleeper: subprocess.Popen[bytes]) -> int:
    sleeper.communicate(b"\n")
    return sleeper.returncode


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, [None, None, None]),
        ("127.0.0.1:9119", ["127.0.0.1:9119", "127.0.0.1:9120", "127.0.0.1:9121"]),
        ("[::1]:9119", ["[::1]:9119", "[::1]:9120", "[::1]:9121"]),
        ("127.0.0.1:0", ["127.0.0.1:0"] * 3),
    ],
)
def test_addresses_of_metrics(given: str | None, expected: list[str | None]) -> None:
    """API, coordinator and worker have PRESTAGER_MONITOR_LISTEN and the two ports after it."""
    settings = Settings(monitor_listen=given, ready_file=Path("/ready"))

    found = [settings_of_part(settings, role) for role in ProcessRole]

    assert expected == [one.monitor_listen for one in found]
    assert [None] * 3 == [one.ready_file for one in found]
