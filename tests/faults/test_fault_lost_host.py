"""The active controller is lost in the middle of a strategy; the standby goes on from the shared databases.

A host is its API, coordinator and worker with all their playbooks: everything of it is killed at one instant. Both
hosts share RabbitMQ, PostgreSQL and the directories of the release, as replicated file systems do.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from time import monotonic

import psutil
import pytest
from sqlalchemy import func, select

from db.schema import runs
from tests.faults.fault_checks import violations
from tests.faults.fault_installation import LONG, FaultInstallation, NewInstallation
from tests.support.installation_processes import START_S, PartProcess
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.skipif(not LONG, reason="lasts longer than a lease: make faults")]

SITES = 4
# From the loss of a host to work that goes on, in seconds; the promise of docs/guarantees.md.
GOES_ON_S = 60.0
_PREPARE = """\
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Prepare
      ansible.builtin.shell: echo prepared >>{place}
"""


class Host:
    """API, coordinator and worker of one controller."""

    def __init__(self, installation: FaultInstallation, name: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        own = {
            "PRESTAGER_LISTEN": f"127.0.0.1:{self.port}",
            "PRESTAGER_DATA_DIR": str(installation.directory / name),
        }
        environment = installation.api.environment | own
        self.parts = [
            PartProcess(
                kind,
                f"{installation.api.worker}-{name}-{kind}",
                environment | {"PRESTAGER_WORKER_NAME": f"{installation.api.worker}-{name}-{kind}"},
                installation.directory / f"{name}-{kind}.log",
            )
            for kind in ("api", "coordinator", "worker")
        ]

    @property
    def worker(self) -> PartProcess:
        """Its worker."""
        return self.parts[-1]

    def launch(self) -> None:
        """Start it cold and wait until all of it is ready."""
        for part in self.parts:
            part.launch()
        wait_for(lambda: all(part.is_ready() for part in self.parts), START_S, self.story)

    def lose(self) -> None:
        """Kill all of it at once, playbooks included: nothing of a host survives its power."""
        playbooks = self.worker.playbook_processes()
        for process in playbooks:
            process.suspend()
        for part in self.parts:
            part.kill()
        for process in playbooks:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def story(self) -> str:
        """Return the ends of its logs."""
        return "\n".join(f"--- {part.name}\n{part.tail()}" for part in self.parts)


def prepared(installation: FaultInstallation) -> list[str]:
    """Return one line for each time that packages were prepared in the shared directory."""
    return place_of_preparation(installation).read_text().splitlines()


def place_of_preparation(installation: FaultInstallation) -> Path:
    """Return the file that the prepare playbook writes to."""
    return installation.directory / "deploy-prepared"


def works_at(installation: FaultInstallation, host: Host) -> int:
    """Return how many runs of a host have begun and not ended, by the database."""
    owned = runs.c.owner.like(f"{host.worker.name}@%")
    return int(installation.rows(select(func.count()).where(owned, runs.c.finished_at.is_(None)))[0][0])


@pytest.mark.parametrize("standby", ["cold", "hot"])
def test_the_active_host_is_lost(new_installation: NewInstallation, standby: str) -> None:
    """The other host goes on within 60 s, whether it was started before or after; nothing is prepared or done twice."""
    installation = new_installation(seconds=None, SLOTS=SITES)
    playbook = installation.directory / "playbooks/prepare_prestage_packages.yml"
    playbook.write_text(_PREPARE.format(place=place_of_preparation(installation)))
    active, other = Host(installation, "controller-0"), Host(installation, "controller-1")
    try:
        active.launch()
        if standby == "hot":
            # Its worker comes later, so that the active host has all the work.
            for part in other.parts[:2]:
                part.launch()
        installation.api.port = active.port
        installation.add_sites(SITES)
        installation.apply_strategy(SITES)
        wait_for(lambda: installation.begun() == SITES, START_S, active.story)
        if standby == "hot":
            other.worker.launch()
            wait_for(lambda: all(part.is_ready() for part in other.parts), START_S, other.story)
        held = works_at(installation, active)

        active.lose()
        lost_at = monotonic()
        installation.release()
        if standby == "cold":
            other.launch()
        installation.api.port = other.port
        answered_s = answers_after(installation, lost_at, other)
        wait_for(lambda: installation.begun() > SITES, GOES_ON_S + 30, other.story)
        goes_on_s = monotonic() - lost_at
        ended = installation.wait_for_end()
        sys.stdout.write(
            f"{standby}: answers after {answered_s:.1f} s, goes on after {goes_on_s:.1f} s,"
            f" over after {monotonic() - lost_at:.1f} s\n"
        )

        assert SITES == held
        assert "complete" == ended
        assert goes_on_s < GOES_ON_S
        assert ["prepared"] == prepared(installation)
        assert [] == violations(installation)
    finally:
        for host in (active, other):
            host.lose()


def answers_after(installation: FaultInstallation, moment: float, host: Host) -> float:
    """Return how long after a moment a command is accepted."""
    body = {"name": "after", "description": "after", "update_apply_type": "serial", "max_parallel_subclouds": 2}
    wait_for(lambda: installation.api.ask("POST", "/v1.0/subcloud-groups", body)[0] in (200, 400), START_S, host.story)
    return monotonic() - moment
