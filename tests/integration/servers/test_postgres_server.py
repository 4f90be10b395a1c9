from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.support import postgres_server
from tests.support.postgres_server import PostgresServer
from tests.support.server import ServerUnavailableError
from tests.support.tcp_proxy import HOST
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
# The first thing that a client asks: may it speak TLS? Every answer has one byte.
TLS_QUESTION = bytes.fromhex("0000000804d2162f")
DIES = """
import os, signal
from tests.support.postgres_server import PostgresServer
print(PostgresServer().data_dir, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def ask(server: PostgresServer, database: str, statement: str) -> object:
    """Return the first value of a statement's answer, or None."""
    with psycopg.connect(server.url(database).replace("+psycopg", ""), autocommit=True) as connection:
        done = connection.execute(statement.encode())
        row = done.fetchone() if done.description else None
        return row[0] if row else None


def test_the_address_is_one_for_sqlalchemy(server: PostgresServer) -> None:
    """The address of a new database is what the service's settings take."""
    engine = create_engine(server.url(server.create_database()))

    with engine.connect() as connection:
        assert "on" == connection.execute(text("SHOW fsync")).scalar()
    engine.dispose()


def test_shared_memory_is_the_servers_own(server: PostgresServer) -> None:
    """Shared memory is in files of the cluster, so a killed server leaves none on the machine."""
    assert "mmap" == ask(server, "postgres", "SHOW dynamic_shared_memory_type")


def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    """Only who knows the password logs in."""
    wrong = server.url().replace("+psycopg", "").replace(server.password, "wrong")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_a_database_is_a_copy_of_its_template(server: PostgresServer) -> None:
    """A new database has what its template has, and is changed alone."""
    template = server.create_database()
    ask(server, template, "CREATE TABLE sites (name text)")
    copy = server.create_database(template)
    ask(server, copy, "INSERT INTO sites VALUES ('oulu')")

    assert (1, 0) == tuple(ask(server, name, "SELECT count(*) FROM sites") for name in (copy, template))


@pytest.mark.parametrize("way", ["fast", "immediate", "kill"])
def test_what_is_committed_survives(server: PostgresServer, way: str) -> None:
    """A row that was committed is there after an ordered stop, an immediate one and a crash."""
    database = server.create_database()
    ask(server, database, "CREATE TABLE sites AS SELECT 'oulu' AS name")
    with closing(psycopg.connect(server.url(database).replace("+psycopg", ""))) as connected:
        match way:
            case "kill":
                server.kill()
                server.start()
            case _:
                server.restart("fast" if way == "fast" else "immediate")
        with pytest.raises(psycopg.OperationalError):
            connected.execute("SELECT 1")

    assert "oulu" == ask(server, database, "SELECT name FROM sites")


def test_a_stopped_server_refuses(server: PostgresServer) -> None:
    """A connection to a server that is down is refused at once, and the port waits for its return."""
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.port))
    server.start()

    assert 1 == ask(server, "postgres", "SELECT 1")


def test_a_frozen_server_keeps_silent(server: PostgresServer) -> None:
    """A frozen server accepts connections and answers nothing until it goes on."""
    server.pause()
    with socket.create_connection((HOST, server.port), timeout=0.2) as client:
        client.sendall(TLS_QUESTION)
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.resume()
        client.settimeout(30)

        assert b"N" == client.recv(1)


def test_nothing_is_left_after_an_exception() -> None:
    """A test that fails leaves neither files nor a server."""
    with pytest.raises(ZeroDivisionError), PostgresServer() as server:
        raise ZeroDivisionError

    assert not server.data_dir.parent.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.port))


def test_nothing_is_left_after_a_killed_test() -> None:
    """A test process that is killed leaves neither files nor a server."""
    done = subprocess.run([sys.executable, "-c", DIES], check=False, cwd=ROOT, capture_output=True, text=True)

    assert -signal.SIGKILL == done.returncode
    wait_for(lambda: not Path(done.stdout.strip()).parent.exists())


def test_a_machine_without_postgresql_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the package."""
    monkeypatch.setattr(postgres_server, "_VERSIONS", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda *_: None)

    with pytest.raises(ServerUnavailableError, match="apt-get install postgresql"):
        PostgresServer()
