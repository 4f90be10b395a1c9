"""The embedded service as its user runs it: a process of its own, asked over HTTP, killed at will."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, Self, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil

from db.database import Database
from db.migrate import current_revision, upgrade
from db.tokens import Role, TokenStore
from runner.processes import marked
from tests.support.imported_sites import READY, import_sites_at
from tests.support.migrated_database import place_migrated
from tests.support.waiting import PATIENCE_S, wait_for

# Module of the command `prestager`.
PROGRAM: Final = "cli.main"


class ServiceProcess:
    """`prestager up` on a free loopback port; may be killed and started again over the same data.

    `program` is the module that is started, the command's own by default.
    """

    def __init__(self, directory: Path, *, program: str = PROGRAM, **settings: object) -> None:
        self._program = program
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.worker = f"crash-{os.getpid()}-{self.port}"
        self.log = directory / "service.log"
        given = {
            "DATA_DIR": directory / "data",
            "LISTEN": f"127.0.0.1:{self.port}",
            "RELEASE": "23.09",
            "WORKER_NAME": self.worker,
            **settings,
        }
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            **{f"PRESTAGER_{name}": str(value) for name, value in given.items()},
        }
        self.token = ""
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of_local_sites(cls, directory: Path, sites: Mapping[str, Mapping[str, Any]]) -> Self:
        """Prepare a service, not started, with the playbooks below `directory` and a release 23.09 without content.

        Its sites, by name with variables of their own, are on this machine and can be prestaged.
        """
        (directory / "deploy" / "23.09").mkdir(parents=True)
        service = cls(
            directory,
            PLAYBOOKS_DIR=directory / "playbooks",
            DEPLOY_DIR=directory / "deploy",
            FEED_DIR=directory / "feed",
        )
        service.prepare()
        local = {**READY, "ansible_connection": "local"}
        import_sites_at(service.database_url, {name: {**local, **own} for name, own in sites.items()})
        return service

    def command(self, *arguments: str) -> str:
        """Run another command of the program over the same data and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.stdout

    @property
    def database_url(self) -> str:
        """Where its database is."""
        file = Path(self.environment["PRESTAGER_DATA_DIR"]) / "prestager.db"
        return self.environment.get("PRESTAGER_DATABASE_URL", f"sqlite:///{file}")

    def prepare(self) -> None:
        """Make the schema and an administrator's token, as two commands would, which take seconds to start."""
        url = self.environment.get("PRESTAGER_DATABASE_URL")
        if url is None:
            url = place_migrated(Path(self.environment["PRESTAGER_DATA_DIR"]) / "prestager.db")
        database = Database(url)
        if current_revision(database) is None:
            upgrade(database)
        database.close()
        self.token = self.token_of("test", Role.ADMIN)

    def token_of(self, name: str, role: Role) -> str:
        """Return a new token of somebody, as a command would make it."""
        database = Database(self.database_url)
        try:
            return TokenStore(database).create_token(name, role)
        finally:
            database.close()

    def start(self, verb: str = "up") -> None:
        """Start it and wait until it answers."""
        self.launch(verb)
        wait_for(self._is_ready, story=self.tail)

    def launch(self, verb: str = "up") -> None:
        """Start it, by a command with its options; it becomes ready in its own time."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._program, *verb.split()],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the service ended by itself:\n{self.tail()}")
        try:
            return self.get("/readyz")[0] == 200
        except (URLError, ConnectionError):
            return False

    @property
    def pid(self) -> int:
        """Its process id; it was started."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill it as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def end(self) -> None:
        """End it, however it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def playbook_processes(self) -> list[psutil.Process]:
        """Return the living processes of its runs."""
        return marked(self.worker)

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def get(self, path: str) -> tuple[int, Any]:
        """Ask for something."""
        return self.ask("GET", path)

    def open(self, path: str) -> IO[bytes]:
        """Begin to read an answer that comes piece by piece."""
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers={"X-Auth-Token": self.token})
        return cast("IO[bytes]", urlopen(request, timeout=PATIENCE_S))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Send a request and return status and JSON (or text)."""
        request = Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Auth-Token": self.token, "Accept": "application/json"},
        )
        try:
            with urlopen(request, timeout=PATIENCE_S) as response:
                status, raw = response.status, response.read()
        except HTTPError as error:
            status, raw = error.code, error.read()
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw.decode(errors="replace")
