"""A new secret key takes the old one's place while a strategy runs, with real processes."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database
from db.encryption import sealed_with
from db.schema import secrets
from tests.support.imported_sites import READY, import_sites_at
from tests.support.installation_processes import InstallationProcesses, new_installation
from tests.support.journal_playbooks import write_playbooks
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.waiting import wait_for

STRATEGY = "/v1.0/sw-update-strategy"
PASSWORD = b64encode(b"Li69nux*").decode()
END_S = 90.0
WAITING = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.shell: "touch {{ journal_dir }}/begun; while [ ! -e {{ journal_dir }}/go-on ]; do sleep 0.1; done"
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Give the directory in which playbooks say that they began, and wait until they may go on."""
    write_playbooks(tmp_path / "playbooks", seconds=0.1)
    (tmp_path / "playbooks" / "prestage_sw_packages.yml").write_text(WAITING)
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


@pytest.fixture
def embedded(tmp_path: Path, journal: Path) -> Iterator[InstallationProcesses]:
    """Give one process that does everything."""
    made = new_installation(tmp_path, PLAYBOOKS_DIR=tmp_path / "playbooks", SLOTS=3)
    made.api.start()
    yield made
    made.end()


@pytest.fixture
def distributed(
    tmp_path: Path, journal: Path, postgres: PostgresServer, rabbitmq: RabbitmqServer
) -> Iterator[InstallationProcesses]:
    """Give an API, a coordinator and two workers over RabbitMQ and PostgreSQL."""
    made = new_installation(
        tmp_path,
        DATABASE_URL=postgres.url(postgres.create_database()),
        BROKER_URL=rabbitmq.url,
        PLAYBOOKS_DIR=tmp_path / "playbooks",
        SLOTS=1,
    )
    made.api.start("api")
    made.part("coordinator", "one")
    for name in ("a", "b"):
        made.part("worker", name)
    yield made
    made.end()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """Give a private PostgreSQL."""
    with PostgresServer() as server:
        yield server


def begin(installation: InstallationProcesses, journal: Path) -> None:
    """Add three sites, work through them one by one, and wait until the first one is at work."""
    variables = {**READY, "ansible_connection": "local", "journal_dir": str(journal)}
    import_sites_at(installation.api.database_url, {f"site{place}": variables for place in range(3)})
    create = {"type": "prestage", "subcloud-apply-type": "serial", "sysadmin_password": PASSWORD}
    assert installation.api.ask("POST", STRATEGY, create)[0] == 200
    assert installation.api.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})[0] == 200
    wait_for((journal / "begun").exists, END_S, installation.story)


def all_processes(installation: InstallationProcesses, fits: Callable[[list[str]], bool]) -> None:
    """Wait until the keys of every process fit."""

    def fitting() -> bool:
        return all(fits(one["key-ids"]) for one in installation.api.get("/v1.0/workers")[1]["workers"])

    wait_for(fitting, story=installation.story)


def used_key(installation: InstallationProcesses) -> Any:
    """Return the id of the key that the strategy's password is sealed with."""
    environment = installation.api.environment
    default = f"sqlite:///{environment['PRESTAGER_DATA_DIR']}/prestager.db"
    database = Database(environment.get("PRESTAGER_DATABASE_URL", default))
    try:
        with database.read() as connection:
            return sealed_with(connection.execute(select(secrets.c.sealed)).scalar_one())
    finally:
        database.close()


@pytest.mark.parametrize("kind", ["embedded", "distributed"])
def test_rotation_while_a_strategy_runs(request: pytest.FixtureRequest, journal: Path, kind: str) -> None:
    """A key is added, made the first, and seals everything anew, while a strategy runs and no process is restarted.

    Each step is refused until all processes are ready for it; the strategy ends well; the old key stays while a
    message of the last hour may need it.
    """
    installation: InstallationProcesses = request.getfixturevalue(kind)
    command = installation.api.command
    begin(installation, journal)
    old = used_key(installation)

    new = command("key", "add").strip()
    all_processes(installation, lambda keys: keys == [old, new])
    with pytest.raises(subprocess.CalledProcessError) as early:
        command("key", "remove", old)
    command("key", "promote", new)
    all_processes(installation, lambda keys: keys == [new, old])
    command("key", "rotate")
    during = (installation.api.get(STRATEGY)[1]["state"], used_key(installation))
    (journal / "go-on").touch()
    wait_for(lambda: installation.api.get(STRATEGY)[1]["state"] != "applying", END_S, installation.story)
    with pytest.raises(subprocess.CalledProcessError) as late:
        command("key", "remove", old)

    assert "seals" in early.value.stderr
    assert ("applying", new) == during
    assert "complete" == installation.api.get(STRATEGY)[1]["state"], installation.story()
    assert "A message of the last hour" in late.value.stderr
    assert "Li69nux*" not in installation.story()


def test_a_key_that_is_taken_away_too_early(embedded: InstallationProcesses, journal: Path) -> None:
    """A file without a key that a secret needs is told in the log, with what to do; putting it back heals."""
    begin(embedded, journal)
    path = Path(embedded.api.environment["PRESTAGER_DATA_DIR"]) / "secret.key"
    old = path.read_text()
    new = embedded.api.command("key", "add").strip()
    (kept,) = [line for line in path.read_text().split() if line != old.strip()]
    path.write_text(f"{kept}\n")
    wait_for(lambda: "secret-key.missing" in embedded.api.log.read_text(), story=embedded.story)
    path.write_text(f"{kept}\n{old}")
    all_processes(embedded, lambda keys: len(keys) == 2)
    (journal / "go-on").touch()
    wait_for(lambda: embedded.api.get(STRATEGY)[1]["state"] != "applying", END_S, embedded.story)

    assert "complete" == embedded.api.get(STRATEGY)[1]["state"], embedded.story()
    assert "prestager key list" in embedded.api.log.read_text()
    assert new not in old
