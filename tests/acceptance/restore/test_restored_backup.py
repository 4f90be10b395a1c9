"""A backup that is really made, gone on from, restored as docs/operations.md says, and prestaged with."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from demo.feed import build_feeds
from demo.images import build_images
from tests.support.postgres_server import PostgresServer
from tests.support.service_process import ServiceProcess
from tests.support.waiting import PATIENCE_S, wait_for

STRATEGY = "/v1.0/sw-update-strategy"
PASSWORD = b64encode(b"Li69nux*").decode()
END_S = 120.0


class Backups(ABC):
    """Makes a backup beside the running service, and restores it while the service is stopped."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return where the database is."""

    @abstractmethod
    def save(self) -> None:
        """Make the backup."""

    @abstractmethod
    def restore(self) -> None:
        """Put it in the place of the database."""


class SqliteBackups(Backups):
    """By SQLite's own online backup."""

    def __init__(self, root: Path) -> None:
        self._file, self._saved = root / "data" / "prestager.db", root / "backup.db"

    def settings(self) -> dict[str, str]:
        """Return nothing: the file in the data directory is the default."""
        return {}

    def save(self) -> None:
        """Copy the database as `.backup` of the command `sqlite3` does."""
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(self._saved)) as target:
            source.backup(target)

    def restore(self) -> None:
        """Replace the file, and remove what belongs to the one before."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self._saved, self._file)


class PostgresBackups(Backups):
    """By pg_dump and pg_restore."""

    def __init__(self, root: Path, server: PostgresServer) -> None:
        self._server, self._saved = server, root / "backup.dump"
        self._name = server.create_database()

    def settings(self) -> dict[str, str]:
        """Return the database's address."""
        return {"DATABASE_URL": self._server.url(self._name)}

    def save(self) -> None:
        """Dump the database."""
        self._run("pg_dump", "--format=custom", f"--file={self._saved}", f"--dbname={self._address(self._name)}")

    def restore(self) -> None:
        """Make the database anew from the dump."""
        self._run("psql", self._address("postgres"), "--command", f'DROP DATABASE "{self._name}"')
        self._run("psql", self._address("postgres"), "--command", f'CREATE DATABASE "{self._name}"')
        self._run("pg_restore", "--exit-on-error", f"--dbname={self._address(self._name)}", f"{self._saved}")

    def _address(self, name: str) -> str:
        return self._server.url(name).replace("+psycopg", "")

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.e2e)])
def backups(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backups]:
    """Give the backups of each kind of database."""
    if request.param == "sqlite":
        yield SqliteBackups(tmp_path)
        return
    with PostgresServer() as server:
        yield PostgresBackups(tmp_path, server)


class Controller:
    """A controller with one site that is made of directories, which remembers who has worked on it."""

    def __init__(self, root: Path, backups: Backups) -> None:
        feeds = build_feeds(root / "feed", package_count=10)
        build_images(root / "deploy" / feeds.target)
        shutil.copytree(feeds.previous_directory, root / "site" / "feed")
        (root / "site" / "backup").mkdir()
        self.service = ServiceProcess(
            root, RELEASE=feeds.target, DEPLOY_DIR=root / "deploy", FEED_DIR=root / "feed", **backups.settings()
        )
        self.service.prepare()
        self._import_site(root, feeds.previous)
        self._lock = root / "site" / "backup" / ".prestage.lock"
        self.service.start()

    def _import_site(self, root: Path, version: str) -> None:
        variables = {
            "prestager_software_version": version,
            "prestager_management_state": "managed",
            "prestager_availability_status": "online",
            "prestager_oam_address": "192.0.2.1",
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "platform_backup_dir": str(root / "site" / "backup"),
            "site_feed_dir": str(root / "site" / "feed"),
            "prestage_min_free_bytes": 0,
        }
        inventory = root / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"edge": variables}}}))
        self.service.command("subcloud", "import", str(inventory))

    def prestage(self) -> dict[str, Any]:
        """Prestage the site by a strategy of its own, which is deleted, and return its step."""
        create = {"type": "prestage", "sysadmin_password": PASSWORD}
        assert self.service.ask("POST", STRATEGY, create)[0] == 200
        assert self.service.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})[0] == 200
        wait_for(lambda: self.service.get(STRATEGY)[1]["state"] != "applying", END_S, self.service.tail)
        _, answer = self.service.get(f"{STRATEGY}/steps")
        assert self.service.ask("DELETE", STRATEGY)[0] == 200
        (step,) = answer["strategy-steps"]
        return dict(step)

    def fence(self) -> int:
        """Return the newest token that the site has seen."""
        (token,) = json.loads(self._lock.read_text())["newest"].values()
        return int(token)

    def stream(self, last: int | None = None) -> tuple[int, str]:
        """Return number and content of the first message of the event stream, for one who has seen event `last`."""
        headers = {"X-Auth-Token": self.service.token} | ({} if last is None else {"Last-Event-ID": str(last)})
        request = Request(f"http://127.0.0.1:{self.service.port}/v1.0/events", headers=headers)
        with urlopen(request, timeout=PATIENCE_S) as answer:
            number = int(answer.readline().split()[1])
            answer.readline()
            return number, answer.readline().decode()

    def doctor(self) -> str:
        """Return what the doctor says of the sites' fences; other findings do not matter here."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "doctor"],
            env=self.service.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return "\n".join(line for line in done.stdout.splitlines() if "db restored" in line)


@pytest.fixture
def controller(tmp_path: Path, backups: Backups) -> Iterator[Controller]:
    """Give a running controller."""
    made = Controller(tmp_path, backups)
    yield made
    made.service.end()


@pytest.mark.timeout(600)
def test_a_restored_backup_prestages_again(controller: Controller, backups: Backups) -> None:
    """After a restore sites refuse until `prestager db restored`, which followers of events notice too."""
    assert "complete" == controller.prestage()["state"]
    backups.save()
    assert "complete" == controller.prestage()["state"]
    seen, _ = controller.stream()
    fence = controller.fence()
    controller.service.stop()

    backups.restore()
    controller.service.start()
    refused = controller.prestage()
    controller.service.stop()

    assert "failed" == refused["state"]
    assert "Superseded by a newer run" in refused["details"]
    assert "prestager db restored" in refused["details"]
    assert "prestager db restored" in controller.doctor()

    told = controller.service.command("db", "restored")
    controller.service.start()
    _, first = controller.stream(last=seen)
    accepted = controller.prestage()

    assert "Ids continue above" in told
    assert f"restored from a backup after event {seen}" in first
    assert ("complete", "") == (accepted["state"], accepted["details"])
    assert fence < controller.fence()
    assert "" == controller.doctor()
