"""`prestager db downgrade`: asks, waits, and is refused while anything uses the database."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest
from sqlalchemy import insert

from db.database import Database
from db.heartbeats import ProcessIdentity, ProcessReport, register_process, write_heartbeat
from db.migrate import current_revision, head_revision, known_revisions
from db.schema import audit, database_now, runs, strategies

OLDEST, HEAD = known_revisions()[0], str(head_revision())
PROCESS = ProcessIdentity(process="one@m/1", name="one", host="ctrl-0", version="1", roles=("worker",))


def lease(database: Database, seconds: float) -> None:
    """Have a run leased for so many seconds."""
    values = {"phase": "prestage-precheck", "attempt": 1, "state": "running", "details": "", "facts": {}}
    flags = {"cancel_requested": False, "consumed": False, "dispatched_at": 0.0}
    with database.write() as connection:
        connection.execute(insert(runs).values(**values, **flags, lease_until=database_now() + seconds))


def add_audit(database: Database) -> None:
    """Keep one entry of the audit."""
    entry = {"caller": "c", "origin": "", "command_id": "1", "type": "t", "status": 200, "detail": ""}
    with database.write() as connection:
        connection.execute(insert(audit).values(at=datetime.now(UTC), **entry))


def test_it_asks(prestager, database: Database) -> None:
    """Without a terminal to ask at and without --yes it lists what would be lost and changes nothing."""
    add_audit(database)

    ended = prestager("db", "downgrade", OLDEST)

    assert (1, HEAD) == (ended.code, current_revision(database))
    assert "lost: entries of the audit: 1" in ended.err
    assert "give --yes" in ended.err


def test_a_strategy_goes_on_in_window_mode(prestager, database: Database) -> None:
    """A strategy that the older program would carry out differently is named; --yes does not help."""
    facts = {"type": "prestage", "release": "23.09", "stop_on_failure": False, "force": False, "for_sw_deploy": False}
    values = {**facts, "state": "applying", "mode": "window", "excluded": [], "created_at": datetime.now(UTC)}
    with database.write() as connection:
        connection.execute(insert(strategies).values(id=7, **values))

    ended = prestager("db", "downgrade", "--yes", "0011")

    assert (1, HEAD) == (ended.code, current_revision(database))
    assert "Strategy 7 goes through its sites in window mode" in ended.err


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 1)])
def test_it_asks_at_a_terminal(
    prestager, database: Database, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int
) -> None:
    """At a terminal the operator is asked, and nothing happens unless he agrees."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer)

    assert code == prestager("db", "downgrade", OLDEST).code
    assert (OLDEST if answer else HEAD) == current_revision(database)


def test_yes(prestager, database: Database) -> None:
    """With --yes what is lost is still listed."""
    add_audit(database)

    ended = prestager("db", "downgrade", "--yes", OLDEST)

    assert (0, OLDEST) == (ended.code, current_revision(database))
    assert "lost: entries of the audit: 1" in ended.err


def test_the_installer_finds_its_option(prestager, data_dir: Path) -> None:
    """deploy/install looks for --wait in the help, to know whether a release's program has it."""
    assert "--wait" in prestager("db", "downgrade", "--help").out


def test_nothing_to_do(prestager, database: Database) -> None:
    """A schema that is there already is told, and nobody is asked."""
    ended = prestager("db", "downgrade", HEAD)

    assert (0, True) == (ended.code, "already" in ended.out)


def test_a_process_is_alive(prestager, database: Database) -> None:
    """Beside a process that reports itself nothing is changed, with --yes neither."""
    with database.write() as connection:
        register_process(connection, PROCESS, ProcessReport(key_ids=("aa",)))

    ended = prestager("db", "downgrade", "--yes", OLDEST)

    assert (1, HEAD) == (ended.code, current_revision(database))
    assert "worker one on ctrl-0 was seen" in ended.err
    assert "Stop the service" in ended.err


def test_a_lease_is_alive(prestager, database: Database) -> None:
    """While a run is leased nothing is changed."""
    lease(database, 30.0)

    ended = prestager("db", "downgrade", "--yes", OLDEST)

    assert (1, HEAD) == (ended.code, current_revision(database))
    assert "Runs leased to workers" in ended.err


def test_a_service_holds_the_data_directory(prestager, database: Database, data_dir: Path) -> None:
    """While an embedded service holds the data directory nothing is changed."""
    with (data_dir / "prestager.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        ended = prestager("db", "downgrade", "--yes", OLDEST)

    assert (1, HEAD) == (ended.code, current_revision(database))
    assert f"A running service holds the data directory {data_dir}" in ended.err


def test_the_leases_of_the_dead_are_waited_for(prestager, database: Database) -> None:
    """With --wait a lease that ends in time is no obstacle."""
    lease(database, 1.5)

    ended = prestager("db", "downgrade", "--yes", "--wait", "30", OLDEST)

    assert (0, OLDEST) == (ended.code, current_revision(database)), ended.err


def test_a_lease_that_does_not_end_in_time(prestager, database: Database) -> None:
    """The wait is bounded."""
    lease(database, 30.0)
    begin = monotonic()

    ended = prestager("db", "downgrade", "--yes", "--wait", "1", OLDEST)

    assert (1, HEAD) == (ended.code, current_revision(database))
    assert monotonic() - begin < 25


def test_a_living_process_is_not_waited_for(prestager, database: Database) -> None:
    """A process that goes on reporting itself is alive: the wait ends at once."""
    with database.write() as connection:
        register_process(connection, PROCESS, ProcessReport(key_ids=("aa",)))
    ended_waiting = Event()

    def report() -> None:
        while not ended_waiting.wait(0.3):
            with database.write() as connection:
                write_heartbeat(connection, PROCESS, ProcessReport(key_ids=("aa",)))

    reporting = Thread(target=report)
    reporting.start()
    begin = monotonic()
    try:
        ended = prestager("db", "downgrade", "--yes", "--wait", "300", OLDEST)
    finally:
        ended_waiting.set()
        reporting.join()

    assert (1, HEAD) == (ended.code, current_revision(database))
    assert monotonic() - begin < 60
