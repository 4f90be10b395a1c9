"""deploy/ocf/prestager: what a cluster manager does with a process of Prestager."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import psutil
import pytest

from tests.support.waiting import BUSY_FACTOR, wait_for

AGENT = Path(__file__).parents[3] / "deploy/ocf/prestager"
# Exit codes of the OCF standard.
SUCCESS, GENERIC, UNIMPLEMENTED, INSTALLED, CONFIGURED, NOT_RUNNING = 0, 1, 3, 5, 6, 7
# What StarlingX's manager grants an action, in seconds.
LIMIT_S = 20.0


@dataclass
class Resource:
    """One process under the agent, in a tree of its own."""

    root: Path
    parameters: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def act(self, action: str) -> int:
        """Run one action, which must end in time, and return its exit code."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PRESTAGER_")}
        given = {"root": str(self.root), "user": "root", "part": "up", **self.parameters}
        environment |= {f"OCF_RESKEY_{name}": value for name, value in given.items()}
        begin = monotonic()
        # A daemon that kept the agent's outputs open would hold the manager up.
        done = subprocess.run(
            [AGENT, action],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S * BUSY_FACTOR + 20,
        )
        assert monotonic() - begin < LIMIT_S * BUSY_FACTOR
        self.said = done.stdout + done.stderr
        return done.returncode

    @property
    def process(self) -> psutil.Process:
        """The process that the agent looks after."""
        return psutil.Process(int((self.root / "run/prestager/up.pid").read_text().split()[0]))


@pytest.fixture
def resource(tmp_path: Path) -> Iterator[Resource]:
    """Give a tree with the program and settings."""
    program = tmp_path / "opt/prestager/current/bin/prestager"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    program.chmod(0o755)
    settings = tmp_path / "etc/prestager/prestager.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'release = "23.09"\nlisten = "127.0.0.1:0"\ndata_dir = "{tmp_path}/data"\n')
    made = Resource(tmp_path, {"worker_name": f"ocf-{os.getpid()}"})
    yield made
    # A frozen process cannot stop by itself.
    if (tmp_path / "run/prestager/up.pid").exists():
        made.process.kill()


def test_start_watch_kill_and_stop(resource: Resource) -> None:
    """The life of a resource: each action may be repeated, and a killed process counts as none."""
    assert NOT_RUNNING == resource.act("monitor")
    assert SUCCESS == resource.act("stop")
    assert SUCCESS == resource.act("start"), resource.said
    first = resource.process
    assert SUCCESS == resource.act("monitor")
    assert SUCCESS == resource.act("start")
    assert first == resource.process

    first.send_signal(signal.SIGKILL)
    wait_for(lambda: NOT_RUNNING == resource.act("monitor"))
    assert SUCCESS == resource.act("start")
    assert first != resource.process

    second = resource.process
    assert SUCCESS == resource.act("stop")
    assert not second.is_running() or second.status() == psutil.STATUS_ZOMBIE
    assert NOT_RUNNING == resource.act("monitor")
    assert "service.stopped" in (resource.root / "var/log/prestager/up.log").read_text()


def test_a_frozen_process(resource: Resource) -> None:
    """A process without a sign of life is failed, and is killed at the stop within the manager's limit."""
    resource.parameters["stop_timeout"] = "1"
    assert SUCCESS == resource.act("start"), resource.said
    frozen = resource.process
    frozen.suspend()
    os.utime(resource.root / "run/prestager/up.ready", (0, 0))

    assert GENERIC == resource.act("monitor")
    assert SUCCESS == resource.act("stop")
    assert not frozen.is_running() or frozen.status() == psutil.STATUS_ZOMBIE


def test_a_process_of_another_life(resource: Resource) -> None:
    """A number that another process has now is not taken for ours, and nobody is killed for it."""
    run = resource.root / "run/prestager"
    run.mkdir(parents=True)
    (run / "up.pid").write_text(f"{os.getpid()} 1\n")

    assert NOT_RUNNING == resource.act("monitor")
    assert SUCCESS == resource.act("stop")
    assert not (run / "up.pid").exists()


def test_settings_that_are_wrong(resource: Resource) -> None:
    """Wrong settings are found before the start, and a start with them fails and says where the reason is."""
    (resource.root / "etc/prestager/prestager.toml").write_text('release = "next"\n')

    assert CONFIGURED == resource.act("validate-all")
    assert "PRESTAGER_RELEASE" in resource.said
    assert GENERIC == resource.act("start")
    assert "up.log" in resource.said
    assert NOT_RUNNING == resource.act("monitor")


def test_other_mistakes(resource: Resource) -> None:
    """A part or an action that does not exist, and a program that is not installed, have codes of their own."""
    assert UNIMPLEMENTED == resource.act("promote")
    resource.parameters["part"] = "everything"
    assert CONFIGURED == resource.act("validate-all")
    resource.parameters["part"] = "up"
    (resource.root / "opt/prestager/current/bin/prestager").unlink()
    assert INSTALLED == resource.act("validate-all")
    assert INSTALLED == resource.act("start")


def test_meta_data(resource: Resource) -> None:
    """The agent describes the actions and parameters that it has, within what the manager grants."""
    assert SUCCESS == resource.act("meta-data")
    document = ET.fromstring(resource.said)  # noqa: S314 - our own text

    actions = {action.get("name"): action.get("timeout") for action in document.iter("action")}
    assert {"start", "stop", "monitor", "validate-all", "meta-data"} == set(actions)
    assert all(int(str(timeout).removesuffix("s")) <= LIMIT_S for timeout in actions.values())
    text = AGENT.read_text()
    for parameter in document.iter("parameter"):
        assert f"OCF_RESKEY_{parameter.get('name')}" in text
