"""A service in a process of its own, for tests that send it requests and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from db.database import Database
from db.tokens import Role, TokenStore
from tests.support.waiting import PATIENCE_S, wait_for


class LoggedService:
    """`prestager up` on a free port; `settings` are PRESTAGER_ variables without the prefix.

    `launcher` is a command with its arguments that runs another one.
    """

    def __init__(self, place: Path, name: str = "service", *, launcher: Sequence[str] = (), **settings: str) -> None:
        self.log = place / f"{name}.log"
        self.environment = clean_environment(
            {
                "DATA_DIR": str(place / "data"),
                "RELEASE": "23.09",
                "LISTEN": "127.0.0.1:0",
                "WORKER_NAME": f"test-{os.getpid()}-{place.name}",
                "LOG_FORMAT": "json",
                # No playbook is run, and to load Ansible takes longer than the rest of a start.
                "PRELOAD": "false",
                **settings,
            }
        )
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [*launcher, sys.executable, "-m", "cli.main", "up"], env=self.environment, stdout=file, stderr=file
            )

    @property
    def records(self) -> list[dict[str, Any]]:
        """What was logged so far; a line that is not whole yet is left out."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def await_event(self, event: str) -> dict[str, Any]:
        """Return the first record of an event, as soon as it is logged."""

        def found() -> list[dict[str, Any]]:
            records = [record for record in self.records if record["event"] == event]
            assert records or self.process.poll() is None, self.log.read_text()
            return records

        return wait_for(found, story=self.log.read_text)[0]

    def get(self, path: str, token: str | None = None) -> tuple[int, Any]:
        """Return status and JSON of a GET."""
        place = urlsplit(self.await_event("service.ready")["url"])
        connection = HTTPConnection(place.hostname, place.port, timeout=PATIENCE_S)
        try:
            headers = {"Accept": "application/json", **({"X-Auth-Token": token} if token else {})}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or "null")
        finally:
            connection.close()

    @property
    def database_url(self) -> str:
        """Where its database is."""
        return f"sqlite:///{self.environment['PRESTAGER_DATA_DIR']}/prestager.db"

    def new_token(self) -> str:
        """Make the token of an administrator called `ops`, as a command would; the service is ready."""
        database = Database(self.database_url)
        try:
            return TokenStore(database).create_token("ops", Role.ADMIN)
        finally:
            database.close()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command with the same settings."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Make sure that the process is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PRESTAGER_")}
    return {**others, **{f"PRESTAGER_{name}": value for name, value in settings.items()}}
