"""A private PostgreSQL cluster on loopback, which a test may stop, kill and freeze.

Needs no running service and touches none: everything lives in a temporary directory and is gone afterwards, also when
the process of the test is killed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
from psycopg import sql

from tests.support.server import Server, ServerUnavailableError
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import wait_for

USER = "postgres"
# The system user that runs the server when root starts it: it refuses to run as root.
SYSTEM_USER = "postgres"
# Version → its programs, as Debian lays them out.
_VERSIONS = Path("/usr/lib/postgresql")
_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_READY_LINE = 7
# What it holds of a server that accepts connections: one that takes writes, and a standby.
_ACCEPTING = (["ready   "], ["standby "])


class PostgresServer(Server):
    """A running cluster; its superuser logs in by password.

    With `primary` it is a standby of that server, which it follows and whose password it has, until `promote`.

    Attributes:
        port: The same for life, also while the server is down.
        password: Of the superuser.
        data_dir: What the server keeps on disk, tables and write-ahead log.
        log: What the server says; a failed statement shows in it with its text.

    Raises:
        ServerUnavailableError: PostgreSQL is not installed.

    """

    def __init__(self, primary: PostgresServer | None = None) -> None:
        self._programs = _find_programs()
        super().__init__("prestager-pg-")
        self.port = free_port()
        self.password = primary.password if primary is not None else secrets.token_urlsafe(16)
        self.data_dir, self.log = self._root / "data", self._root / "server.log"
        # Whose user identity the programs get, as arguments of Popen.
        self._identity: dict[str, Any] = {}
        self._primary = primary
        self._start_guarded()

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the SQLAlchemy address of a database, at `port` if there is a proxy before the server."""
        return f"postgresql+psycopg://{USER}:{self.password}@{HOST}:{port or self.port}/{database}"

    def create_database(self, template: str = "template1") -> str:
        """Return the name of a new database, a copy of `template`, to which no client may be connected meanwhile."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(**self._login(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return name

    def start(self) -> None:
        """Start the server, which is down; returns when it accepts connections."""
        command = [f"{self._programs}/postgres", "-D", f"{self.data_dir}"]
        self._launch(command, self.log, cwd=self._root, **self._identity)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Shut the server down: in order ("fast"), or by a recovery at the next start ("immediate")."""
        self.resume()
        self._end(_STOP_SIGNALS[mode])

    def restart(self, mode: Literal["fast", "immediate"] = "immediate") -> None:
        """Stop and start."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Kill the server and its children with SIGKILL, as a crash of the machine does."""
        processes = self._stopped_processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._end(signal.SIGKILL)
        wait_for(lambda: all(_has_ended(process) for process in processes), self.deadline_s)

    def pause(self) -> None:
        """Freeze the server: connections are accepted by the kernel, and nothing answers."""
        self._stopped_processes()

    def resume(self) -> None:
        """Let a frozen server go on."""
        for process in reversed(self._processes()):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def promote(self) -> None:
        """Make a standby a server of its own; returns when it takes writes."""
        with psycopg.connect(**self._login(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote(true, 30)")

    def _processes(self) -> list[psutil.Process]:
        """Return the server's processes, the one that starts the others first."""
        if self._process is None or self._process.poll() is not None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def _stopped_processes(self) -> list[psutil.Process]:
        if self._process is not None and self._process.poll() is None:
            # Before its children are listed, so that it starts no more of them.
            self._process.send_signal(signal.SIGSTOP)
        processes = self._processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        return processes

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            self._identity = {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []}
            shutil.chown(self._root, SYSTEM_USER, SYSTEM_USER)
        if self._primary is None:
            self._make_new_cluster()
        else:
            self._copy_cluster(self._primary)
        with (self.data_dir / "postgresql.conf").open("a", encoding="ascii") as settings:
            settings.write(self._settings())

    def _copy_cluster(self, primary: PostgresServer) -> None:
        command = [
            *(f"{self._programs}/pg_basebackup", "--pgdata", f"{self.data_dir}", "--write-recovery-conf"),
            *("--host", HOST, "--port", f"{primary.port}", "--username", USER),
            *("--checkpoint", "fast", "--no-sync"),
        ]
        login = {**os.environ, "PGPASSWORD": self.password}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self._root, env=login, **self._identity
        )
        if done.returncode != 0:
            raise ServerUnavailableError(f"pg_basebackup failed: {done.stderr.strip()}")

    def _make_new_cluster(self) -> None:
        password_file = self._root / "password"
        password_file.write_text(self.password, encoding="ascii")
        if os.geteuid() == 0:
            shutil.chown(password_file, SYSTEM_USER, SYSTEM_USER)
        command = [
            *(f"{self._programs}/initdb", "--pgdata", f"{self.data_dir}"),
            *("--username", USER, "--pwfile", f"{password_file}"),
            # The cluster need not survive the machine before it is in use; the server itself writes with fsync.
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=self._root, **self._identity)
        password_file.unlink()
        if done.returncode != 0:
            raise ServerUnavailableError(f"initdb failed: {done.stderr.strip()}")

    def _settings(self) -> str:
        return "\n".join(
            [
                "",
                f"listen_addresses = '{HOST}'",
                f"port = {self.port}",
                f"unix_socket_directories = '{self._root}'",
                "fsync = on",
                "max_connections = 200",
                "shared_buffers = 32MB",
                # Files of the cluster, which go with it: a killed server leaves those of /dev/shm for ever.
                "dynamic_shared_memory_type = mmap",
                "timezone = 'UTC'",
                "log_timezone = 'UTC'",
                "",
            ]
        )

    def _answers(self) -> bool:
        state = self.data_dir / "postmaster.pid"
        lines = state.read_text(encoding="ascii").splitlines() if state.exists() else []
        # A file of a killed server may still be there.
        assert self._process is not None
        return lines[:1] == [str(self._process.pid)] and lines[_READY_LINE:] in _ACCEPTING

    def _login(self) -> dict[str, Any]:
        return {"host": HOST, "port": self.port, "user": USER, "password": self.password, "dbname": "postgres"}


def _find_programs() -> Path:
    """Return the directory of the newest server's programs."""
    found = sorted(_VERSIONS.glob("*/bin/postgres"), key=lambda program: float(program.parts[-3]))
    program = str(found[-1]) if found else shutil.which("postgres")
    if program is None:
        raise ServerUnavailableError("Database tests need a package of this machine: apt-get install postgresql")
    return Path(program).resolve().parent


def _has_ended(process: psutil.Process) -> bool:
    """Tell whether a process does nothing any more; who adopted it may collect it much later."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
