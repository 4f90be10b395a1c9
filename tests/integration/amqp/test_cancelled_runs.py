"""Runs that are marked as to be cancelled: every worker learns it at once, over RabbitMQ and within one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import update

from broker.amqp.topology import CONTROL
from db.schema import runs, steps, strategies
from db.unit_of_work import unit_of_work
from messages.queues import CANCEL_RUNS
from runner.fake import FakeRunEnd
from service.roles import ProcessRole
from tests.support.fake_playbooks import PACKAGES, FakePlaybooks
from tests.support.installation import Installation, StartedInstallation
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

# Far above the time of a hint, far below that of a renewal.
AT_ONCE_S = 5.0


@pytest.fixture(params=["embedded", "rabbitmq"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartedInstallation]:
    """Give an installation whose packages playbooks never end by themselves."""
    playbooks = FakePlaybooks()
    for name in ("a", "b"):
        playbooks.end(name, PACKAGES, FakeRunEnd(delay_s=300.0))
    if request.param == "embedded":
        started = Installation.embedded(tmp_path, playbooks=playbooks)
        yield started
        started.stop()
        return
    host: VirtualHost = request.getfixturevalue("host")
    begin: Callable[..., StartedInstallation] = request.getfixturevalue("start")
    coordinator = begin(roles=frozenset({ProcessRole.COORDINATOR}))
    begin(roles=frozenset({ProcessRole.WORKER}), worker_name="first", playbooks=playbooks)
    wait_for(lambda: any(name.startswith(f"{CONTROL}.") for name in host.server.queues(host.name)))
    yield coordinator


def mark(installation: StartedInstallation, name: str, *, announces: bool) -> None:
    """Mark the runs of a site's step as a cancel does."""
    with unit_of_work(installation.database) as work:
        work.connection.execute(
            update(runs)
            .where(runs.c.step_id == installation.step(name)["id"], runs.c.finished_at.is_(None))
            .values(cancel_requested=True, cancel_grace_s=0.0)
        )
        if announces:
            work.enqueue(CANCEL_RUNS)


def last_run(installation: StartedInstallation, name: str) -> dict[str, object]:
    """Return the newest run of a site."""
    return installation.rows(runs, step_id=installation.step(name)["id"])[-1]


def test_a_marked_run_is_cancelled_at_once(installation: StartedInstallation) -> None:
    """A worker stops a marked run within seconds and reports it as cancelled; its other runs go on."""
    for name in ("a", "b"):
        installation.add_site(name)
    installation.create()
    installation.verb("apply")
    wait_for(lambda: all(installation.step(name)["state"] == "prestaging-packages" for name in ("a", "b")))
    wait_for(lambda: all(last_run(installation, name)["state"] == "running" for name in ("a", "b")))
    began = monotonic()
    mark(installation, "a", announces=True)
    wait_for(lambda: last_run(installation, "a")["outcome"] is not None)

    assert monotonic() - began < AT_ONCE_S
    assert ("cancelled", "It was cancelled") == tuple(
        last_run(installation, "a")[key] for key in ("outcome", "details")
    )
    assert "running" == last_run(installation, "b")["state"]
    assert "applying" == installation.rows(strategies)[-1]["state"]
    assert 2 == len(installation.rows(steps))


def test_a_hint_that_is_lost_costs_time_only(installation: StartedInstallation) -> None:
    """A marked run is cancelled by the next renewal of its lease when no hint comes."""
    installation.add_site("a")
    installation.create()
    installation.verb("apply")
    wait_for(lambda: installation.step("a")["state"] == "prestaging-packages")
    wait_for(lambda: last_run(installation, "a")["state"] == "running")
    mark(installation, "a", announces=False)

    wait_for(lambda: last_run(installation, "a")["outcome"] == "cancelled")


def test_a_marked_run_that_waits_is_not_started(tmp_path: Path) -> None:
    """A run that was marked before its claim ends as cancelled when it is claimed; nothing of it is begun."""
    started = Installation.embedded(tmp_path)
    try:
        started.process.worker.drain()
        started.add_site("a")
        started.create()
        started.verb("apply")
        wait_for(started.queued)
        mark(started, "a", announces=True)
        started.process.worker.undrain()
        wait_for(lambda: last_run(started, "a")["outcome"] is not None)

        assert "cancelled" == last_run(started, "a")["outcome"]
        assert [] == started.playbooks.jobs
    finally:
        started.stop()
