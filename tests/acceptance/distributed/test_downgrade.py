"""`prestager db downgrade` beside real processes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.migrate import known_revisions
from tests.support.installation_processes import InstallationProcesses, new_installation
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.waiting import wait_for

OLDER = known_revisions()[-2]


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[InstallationProcesses]:
    """Give one process that does everything, on SQLite."""
    made = new_installation(tmp_path, PRELOAD="false")
    made.api.start()
    yield made
    made.end()


@pytest.fixture
def distributed(tmp_path: Path, rabbitmq: RabbitmqServer) -> Iterator[InstallationProcesses]:
    """Give an API and a coordinator over RabbitMQ and PostgreSQL."""
    with PostgresServer() as postgres:
        made = new_installation(
            tmp_path, DATABASE_URL=postgres.url(postgres.create_database()), BROKER_URL=rabbitmq.url
        )
        made.api.start("api")
        made.part("coordinator", "one")
        yield made
        made.end()


def refusal(installation: InstallationProcesses) -> str:
    """Return what a downgrade says that is refused."""
    with pytest.raises(subprocess.CalledProcessError) as refused:
        installation.api.command("db", "downgrade", "--yes", OLDER)
    return str(refused.value.stderr)


@pytest.mark.parametrize("kind", ["embedded", "distributed"])
def test_downgrade_beside_a_service(request: pytest.FixtureRequest, kind: str) -> None:
    """Refused while processes run and right after they were killed; with --wait it waits until they count as dead."""
    installation: InstallationProcesses = request.getfixturevalue(kind)
    roles = 1 if kind == "embedded" else 2
    wait_for(lambda: len(installation.api.get("/v1.0/workers")[1]["workers"]) == roles, story=installation.story)
    beside = refusal(installation)
    for process in (installation.api, *installation.parts):
        process.kill()

    killed = refusal(installation)
    done = installation.api.command("db", "downgrade", "--yes", "--wait", "60", OLDER)

    assert ("holds the data directory" if kind == "embedded" else "was seen") in beside
    assert "was seen" in killed
    assert f"to {OLDER}." in done


def test_downgrade_after_a_stop(embedded: InstallationProcesses) -> None:
    """After a stop in order nothing is waited for."""
    wait_for(lambda: embedded.api.get("/v1.0/workers")[1]["workers"], story=embedded.story)
    assert 0 == embedded.api.stop()

    assert f"to {OLDER}." in embedded.api.command("db", "downgrade", "--yes", OLDER)
