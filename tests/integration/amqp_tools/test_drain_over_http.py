"""`prestager drain`, `undrain` and `queues` over HTTP, from a machine that has nothing of the installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from messages.queues import SUBCLOUDS
from tests.support.operator_shell import OperatorShell, ShellCommand
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.service_process import ServiceProcess
from tests.support.virtual_host import new_virtual_host
from tests.support.waiting import wait_for


def draining(shell: OperatorShell) -> list[bool]:
    """Return what the workers say of themselves."""
    return [one["draining"] for one in shell.run("workers", "-o", "json").json if one["slots"] is not None]


def reached(ended: ShellCommand) -> Any:
    """Return what a worker answered; nothing while its connection to the broker is being made."""
    return ended.json if ended.code == 0 else None


def test_draining_over_http(rabbitmq: RabbitmqServer, tmp_path: Path) -> None:
    """A worker drains and takes runs again by its API, each with an entry in the audit; an unknown one is refused."""
    with new_virtual_host(rabbitmq) as host:
        service = ServiceProcess(tmp_path, BROKER_URL=host.url(), PRELOAD="false")
        service.prepare()
        service.start()
        try:
            shell = OperatorShell(tmp_path, f"http://127.0.0.1:{service.port}", service.token)
            drained = wait_for(lambda: reached(shell.run("drain", service.worker, "-o", "json")), story=service.tail)
            wait_for(lambda: draining(shell) == [True])
            undrained = shell.run("undrain", "--all")
            wait_for(lambda: draining(shell) == [False])
            unknown = shell.run("drain", "nobody")
            queues = {one["name"]: one for one in shell.run("queues", "-o", "json").json}
            audit = shell.run("audit", "-o", "json").json
        finally:
            service.end()

    assert [{"name": service.worker, "draining": True, "running": 0}] == drained
    assert (0, ["WORKER", "RUNS", service.worker, "0"]) == (undrained.code, undrained.out.split())
    assert (1, True) == (unknown.code, "There is no living worker of this name" in unknown.err)
    assert [service.worker] == queues[SUBCLOUDS]["workers"]
    assert [("worker.undrain", service.worker, "test"), ("worker.drain", service.worker, "test")] == [
        (one["type"], one["subject"], one["caller"]) for one in audit[:2]
    ]
