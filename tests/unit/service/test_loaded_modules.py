"""Libraries that a process of each role loads: what it does not use costs memory and time at every start.

In the quick lane though it starts processes: an import too many is found with the change that brings it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.migrated_database import place_migrated
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import wait_for

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
        *("cryptography.x509", "demo", "simulator", "sites.sysinv.client", "webhooks.http_session"),
    }
)
_NOT_LOADED: Final[Mapping[str, frozenset[str]]] = {
    "up": frozenset({"aio_pika", "pika", "service.amqp_messaging"}),
    "api": frozenset(
        {
            *("actors.coordinator.coordinator", "actors.worker.worker", "runner.supervisor", "statemachine.plan"),
            *("transitions", "webhooks.sender"),
        }
    ),
    "coordinator": frozenset({"actors.worker.worker", "aiohttp", "api.app", "apidocs", "runner.supervisor"}),
    "worker": frozenset({"actors.coordinator.coordinator", "aiohttp", "api.app", "apidocs", "webhooks.sender"}),
}


@pytest.mark.parametrize("role", _NOT_LOADED)
def test_a_process_loads_what_its_role_uses(role: str, tmp_path: Path) -> None:
    """A process at rest has loaded no library, and no module of another role, that it does not use."""
    place_migrated(tmp_path / "prestager.db")
    environment = {
        "PATH": os.environ["PATH"],
        "PRESTAGER_DATA_DIR": str(tmp_path),
        "PRESTAGER_LISTEN": f"{HOST}:{free_port()}",
        "PRESTAGER_PRELOAD": "false",
        "PRESTAGER_RELEASE": "23.09",
        "PRESTAGER_WORKER_NAME": f"loaded-{role}-{os.getpid()}",
    }
    if role != "up":
        # A broker that is away is waited for.
        environment["PRESTAGER_BROKER_URL"] = f"amqp://{HOST}:{free_port()}/"
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, role], env=environment, stdout=subprocess.PIPE, stderr=sink, text=True
        )
    try:
        wait_for(lambda: "service.ready" in log.read_text(), story=log.read_text)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    loaded = set(printed.rpartition("loaded:")[2].split())

    assert "service.process" in loaded
    assert set() == loaded & (_NEVER | _NOT_LOADED[role])
