"""Abort at any moment: nothing starts after the answer, what runs goes through, what waits is aborted at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from threading import Event, Lock
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import insert

from db.schema import runs, steps, strategies, subclouds
from runner.fake import FakeRunEnd
from runner.interface import PlaybookJob
from tests.faults.fault_installation import promised, scaled, seeded
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

SITES = 250
WIDTH = 50
ABORTED_S = promised(2.0)


class Playbooks:
    """Remembers which sites were worked on, and takes a random moment for each playbook."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._lock = Lock()
        self.hosts: set[str] = set()

    def decide(self, job: PlaybookJob) -> FakeRunEnd:
        """Say how long a job takes."""
        with self._lock:
            self.hosts.add(job.host)
            return FakeRunEnd(delay_s=self._random.uniform(0, 0.1))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., StartedInstallation]]:
    """Give a function that starts an installation with 250 sites; it is stopped in the end."""
    installations: list[StartedInstallation] = []

    def begin(url: str | None, playbooks: Playbooks) -> StartedInstallation:
        installation = StartedInstallation(tmp_path, url, playbooks=FakePlaybooks(playbooks.decide), slots=WIDTH)
        installations.append(installation)
        with installation.database.write() as connection:
            connection.execute(insert(subclouds), [site(place) for place in range(SITES)])
        return installation

    yield begin
    for installation in installations:
        installation.stop()


def site(place: int) -> dict[str, Any]:
    """Return a site that can be prestaged."""
    return {
        "name": f"s{place:03}",
        "group_id": 1,
        "software_version": "22.12",
        "management_state": "managed",
        "availability_status": "online",
        "deploy_status": "complete",
        "error_description": "No errors present",
        "region_name": f"s{place:03}",
        "openstack_installed": False,
        "system_mode": "simplex",
        "oam_floating_ip": "10.10.10.2",
        "management_alarms": 0,
        "connection": {},
        "probe_failures": 0,
        "created_at": datetime.now(UTC),
    }


def states(installation: StartedInstallation) -> dict[str, str]:
    """Return the state of each site's step in the newest strategy."""
    newest = installation.rows(strategies)[-1]["id"]
    return {row["subcloud_name"]: row["state"] for row in installation.rows(steps, strategy_id=newest)}


def abort_once(installation: StartedInstallation, playbooks: Playbooks, after_s: float) -> None:
    """Run a strategy, abort it after a while, and check what came of it."""
    playbooks.hosts.clear()
    assert installation.create(**{"max-parallel-subclouds": WIDTH}).status == 200
    assert installation.verb("apply").status == 200
    Event().wait(after_s)
    asked_at = monotonic()
    answer = installation.verb("abort")
    took_s = monotonic() - asked_at
    if answer.status != 200:
        # It was over already.
        assert "cannot be aborted" in answer.detail
        wait_for(lambda: installation.rows(strategies)[-1]["finished_at"])
        assert installation.verb("delete").status == 200
        return
    at_answer = states(installation)
    begun = {name for name, state in at_answer.items() if state != "aborted"}
    wait_for(lambda: installation.rows(strategies)[-1]["finished_at"])
    in_the_end = states(installation)
    sys.stdout.write(f"aborted after {after_s:.2f} s: {len(begun)} of {SITES} had begun, answered in {took_s:.2f} s\n")

    assert took_s < ABORTED_S
    assert "initial" not in at_answer.values()
    assert dict.fromkeys(at_answer, "aborted") | dict.fromkeys(begun, "complete") == in_the_end
    assert playbooks.hosts <= begun
    assert ("aborted" if len(begun) < SITES else "complete") == installation.rows(strategies)[-1]["state"]
    assert not installation.rows(runs, consumed=False)
    assert installation.verb("delete").status == 200


def test_abort_at_random_moments(start: Callable[..., StartedInstallation]) -> None:
    """No step starts after the abort was answered, whenever it comes; waiting steps are aborted within 2 s."""
    random = seeded()
    playbooks = Playbooks(random)
    installation = start(None, playbooks)
    for _ in range(scaled(2, 30)):
        abort_once(installation, playbooks, random.uniform(0, 2.5))


def test_abort_over_rabbitmq(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """The same with commands and steps as messages of RabbitMQ."""
    random = seeded()
    playbooks = Playbooks(random)
    installation = start(host.url(), playbooks)
    for _ in range(scaled(1, 5)):
        abort_once(installation, playbooks, random.uniform(0.2, 2))
