"""The heartbeat of a running process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from sqlalchemy import delete, event, text
from structlog.testing import capture_logs

from db.database import Database
from db.encryption import Sealer
from db.heartbeats import ProcessIdentity, ProcessReport, all_processes, living_processes, register_process
from db.schema import heartbeats
from db.secret_keys import sealing_ages
from messages.process_info import program_version
from playbook_sets.controller_content import ControllerContent
from runner.fake import FakeRunEnd
from service.heartbeat import Heartbeat, ReportedProcess
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.postgres_server import PostgresServer
from tests.support.tcp_proxy import HOST, TcpProxy
from tests.support.waiting import wait_for

IDENTITY = ProcessIdentity(process="w@m/1", name="w", host="h", version="1", roles=("worker",), slots=3)
CONTENT = ControllerContent(releases=("22.12",), feeds=("22.12",))


def rows(database: Database) -> list[Any]:
    """Return the rows of all processes."""
    with database.read() as connection:
        return list(all_processes(connection))


def beating(database: Database, look: Callable[[], ControllerContent] = lambda: CONTENT) -> Heartbeat:
    """Return a heartbeat that is not started."""
    return Heartbeat(database, ReportedProcess(identity=IDENTITY, sealer=Sealer(b"k" * 32), look=look))


@pytest.fixture
def database(new_database_url: Callable[..., str]) -> Iterator[Database]:
    """An empty database, on SQLite and on PostgreSQL."""
    database = Database(new_database_url())
    yield database
    database.close()


def test_a_process_reports_itself(build: Callable[..., StartedInstallation]) -> None:
    """From its start on a process shows who it is, what it can do and what it finds on the controller."""
    installation = build()
    for name in ("deploy/22.12", "feed/rel-22.12", "feed/rel-23.09"):
        (installation.settings.data_dir / name).mkdir(parents=True)

    (row,) = wait_for(lambda: [one for one in rows(installation.database) if one["releases"] is not None])

    assert ("api+coordinator+worker", socket.gethostname(), program_version()) == (
        row["role"],
        row["host"],
        row["version"],
    )
    assert (installation.settings.worker_name, installation.settings.slots, 0, 0, "") == tuple(
        row[key] for key in ("name", "slots", "running", "prechecks", "playbooks_error")
    )
    assert (True, False, list(installation.process.sealer.key_ids)) == (
        row["alive"],
        bool(row["draining"]),
        row["key_ids"],
    )
    assert sorted(installation.settings.served_queues) == row["queues"]


def test_a_stop_in_order_removes_the_row(build: Callable[..., StartedInstallation]) -> None:
    """A process that was asked to stop is not taken for a lost one."""
    installation = build()
    wait_for(lambda: rows(installation.database))
    installation.process.lifecycle.stop()

    assert [] == rows(installation.database)


def test_what_changes_is_reported(build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks) -> None:
    """A heartbeat counts the playbooks that run now, and tells that a worker drains."""
    installation = build()
    installation.add_site("site")
    fake_playbooks.end("site", "prestage_sw_packages", FakeRunEnd(delay_s=3600))
    assert installation.create().status == 200
    assert installation.verb("apply").status == 200
    wait_for(lambda: "prestage_sw_packages" in fake_playbooks.played("site"))
    installation.process.worker.drain()
    heartbeat = installation.process.heartbeat
    assert heartbeat is not None

    heartbeat.beat()

    (row,) = rows(installation.database)
    assert (1, 0, True) == (row["running"], row["prechecks"], bool(row["draining"]))


def test_a_beat_is_one_statement(database: Database) -> None:
    """After the first one a heartbeat costs one statement."""
    heartbeat = beating(database)
    heartbeat.beat()
    statements: list[str] = []
    event.listen(
        database.writer_engine, "before_cursor_execute", lambda *arguments: statements.append(str(arguments[2]))
    )

    heartbeat.beat()

    (statement,) = (one for one in statements if not one.startswith("BEGIN"))
    assert statement.startswith("UPDATE heartbeats")


def test_a_row_that_went_comes_back(database: Database) -> None:
    """A process whose row was removed, as after a restored backup, is there again with its next heartbeat."""
    heartbeat = beating(database)
    heartbeat.beat()
    with database.write() as connection:
        connection.execute(delete(heartbeats))

    heartbeat.beat()

    assert [IDENTITY.process] == [row["process"] for row in rows(database)]


def test_a_process_that_died_had_sealed(database: Database) -> None:
    """The key with which a killed process sealed counts as used until its successor takes its row's place."""
    dead = replace(IDENTITY, process="w@m/0")
    with database.write() as connection:
        register_process(connection, dead, ProcessReport(key_ids=("0123456789abcdef",)))

    beating(database).beat()

    with database.read() as connection:
        assert sealing_ages(connection)["0123456789abcdef"] < 60
    assert [IDENTITY.process] == [row["process"] for row in rows(database)]


def test_a_look_that_hangs_holds_nothing_up(database: Database) -> None:
    """While the controller's directories do not answer, the process is alive, and its stop does not wait for them."""
    released = Event()

    def look() -> ControllerContent:
        released.wait(60)
        return CONTENT

    heartbeat = beating(database, look)
    heartbeat.start()
    try:
        (row,) = wait_for(lambda: rows(database))
        heartbeat.stop()
    finally:
        hung = not released.is_set()
        released.set()

    assert (True, None) == (bool(row["alive"]), row["releases"])
    assert hung
    assert [] == rows(database)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_database_that_is_away(new_database_url: Callable[..., str], postgres: PostgresServer) -> None:
    """A database that is away is logged once, not at each beat; when it is back the process is alive again."""
    with TcpProxy(postgres.port) as proxy:
        direct = new_database_url()
        database = Database(direct.replace(f"{HOST}:{postgres.port}", f"{HOST}:{proxy.port}"))
        heartbeat = beating(database)
        heartbeat.beat()
        with capture_logs() as lines:
            proxy.reset()
            for _ in range(3):
                heartbeat.beat()
            away = [line["event"] for line in lines]
            proxy.pass_on()
            heartbeat.beat()

        assert ["heartbeat.not-written"] == away
        assert ["heartbeat.not-written", "heartbeat.written-again"] == [line["event"] for line in lines]
        with database.read() as connection:
            assert 1 == len(living_processes(connection))
        proxy.reset()
        heartbeat.beat()
        # A stop does not wait for a database that was away at the last beat.
        heartbeat.stop()
        database.close()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_database_without_the_table(database: Database) -> None:
    """A schema that was brought down beneath a running process does not end its reports."""
    heartbeat = beating(database)
    with database.write() as connection:
        connection.execute(text("DROP TABLE heartbeats"))

    with capture_logs() as lines:
        heartbeat.beat()
        heartbeat.beat()

    assert ["heartbeat.not-written"] == [line["event"] for line in lines]
