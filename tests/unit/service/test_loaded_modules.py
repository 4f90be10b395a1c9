"""Libraries that a process of each role loads: what it does not use costs memory and time at every start.

In the quick lane though it starts processes: an import too many is found with the change that brings it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from tests.support.migrated_database import place_migrated
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import PATIENCE_S, wait_for

# The command `prestager` that lists at its end what was loaded.
_PROGRAM: Final = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sys.modules))
from cli.main import main
main()
"""
# Of tools, of other commands, and of settings that are not the default.
_NEVER: Final = frozenset(
    {
        *("alembic", "ansible", "ansible_runner", "asyncssh", "keystoneauth1", "opentelemetry", "requests", "rich"),
        "typer",
        *("cryptography.x509", "demo", "simulator", "sites.sysinv.client", "webhooks.http_session"),
    }
)
_NOT_LOADED: Final[Mapping[str, frozenset[str]]] = {
    "up": frozenset({"aio_pika", "pika", "service.amqp_messaging"}),
    "api": frozenset(
        {
            *("actors.coordinator.coordinator", "actors.worker.worker", "runner.supervisor", "statemachine.plan"),
            *("cryptography.hazmat.primitives.serialization.ssh", "psutil", "sites.availability_probe"),
            "webhooks.sender",
        }
    ),
    "coordinator": frozenset(
        {"actors.worker.worker", "aiohttp", "api.app", "apidocs", "psutil", "runner.supervisor", "yaml"}
    ),
    "worker": frozenset({"actors.coordinator.coordinator", "aiohttp", "api.app", "apidocs", "webhooks.sender"}),
}


@dataclass(frozen=True)
class ProcessAtRest:
    """A process of a role: its niceness once it was ready, and the modules that it had loaded at its end."""

    role: str
    niceness: int
    loaded: frozenset[str]


@pytest.fixture(scope="module", params=_NOT_LOADED)
def process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ProcessAtRest:
    """Give what was seen of a process that has done nothing but start and stop."""
    role, directory = request.param, tmp_path_factory.mktemp(request.param)
    place_migrated(directory / "prestager.db")
    environment = {
        "PATH": os.environ["PATH"],
        "PRESTAGER_DATA_DIR": str(directory),
        "PRESTAGER_LISTEN": f"{HOST}:{free_port()}",
        "PRESTAGER_PRELOAD": "false",
        "PRESTAGER_RELEASE": "23.09",
        "PRESTAGER_WORKER_NAME": f"loaded-{role}-{os.getpid()}",
        "PRESTAGER_WORKER_NICE": str(os.nice(0) + 3),
    }
    if role != "up":
        # A broker that is away is waited for.
        environment["PRESTAGER_BROKER_URL"] = f"amqp://{HOST}:{free_port()}/"
    log = directory / "log"
    with log.open("wb") as sink:
        started = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, role], env=environment, stdout=subprocess.PIPE, stderr=sink, text=True
        )
    try:
        wait_for(lambda: "service.ready" in log.read_text(), story=log.read_text)
        niceness = os.getpriority(os.PRIO_PROCESS, started.pid) - os.nice(0)
        started.send_signal(signal.SIGTERM)
        printed, _ = started.communicate(timeout=PATIENCE_S)
    finally:
        started.kill()
    return ProcessAtRest(role, niceness, frozenset(printed.rpartition("loaded:")[2].split()))


def test_a_process_loads_what_its_role_uses(process: ProcessAtRest) -> None:
    """A process at rest has loaded no library, and no module of another role, that it does not use."""
    assert "service.process" in process.loaded
    assert set() == process.loaded & (_NEVER | _NOT_LOADED[process.role])


def test_a_worker_leaves_the_cores_to_others(process: ProcessAtRest) -> None:
    """A process that is a worker alone runs at PRESTAGER_WORKER_NICE, one with another role as it was started."""
    assert (3 if process.role == "worker" else 0) == process.niceness


def test_a_playbook_run_loads_no_library_of_the_service() -> None:
    """Processes of runs, and the one that they are forked from, load none of the service's large libraries."""
    program = "import runner.child, runner.playbook, runner.preload.trial_run, sys; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "runner.event_collector" in loaded
    assert set() == loaded & {"cryptography", "dramatiq", "pydantic", "sqlalchemy", "structlog", "transitions"}
