"""What of a real database's errors means that it is away, and what does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from db.database import Database
from db.errors import DatabaseUnavailableError, driver_reason, unavailable_as_one_error
from db.schema import controller, subcloud_groups
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import PATIENCE_S, wait_for

ON_POSTGRESQL = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
CHANGE = update(controller).values(upgrading=True)


def run(database: Database, *statements: str) -> None:
    """Run statements as an administrator of the server."""
    address = make_url(str(database.url.render_as_string(hide_password=False))).set(drivername="postgresql")
    with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def write(database: Database, *statements: Any) -> None:
    """Carry statements out in one writing transaction."""
    with database.write() as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def unavailable(reason: str = "not available") -> Iterator[None]:
    """Expect that the block, in which a transaction is broken, ends with the one error."""
    with pytest.raises(DatabaseUnavailableError, match=reason):
        yield


def raised_by_server(sqlstate: str) -> Any:
    """Return a statement that the server ends with an error of this code."""
    return text(f"DO $$ BEGIN RAISE EXCEPTION 'of the test' USING ERRCODE = '{sqlstate}'; END $$")


@ON_POSTGRESQL
@pytest.mark.parametrize(
    "sqlstate",
    [
        *("08000", "08003", "08006", "25006", "25P03", "40001", "40P01", "53000", "53100", "53200", "53300"),
        *("55000", "55P03", "57014", "57P01", "57P02", "57P03", "58000", "58030", "XX000", "XX001", "42P01", "42703"),
    ],
)
def test_codes_of_postgresql_that_mean_away(database: Database, sqlstate: str) -> None:
    """Whatever says that the server cannot now, and may later, is one error, for readers and for writers."""
    for transaction in (database.read, database.write):
        with pytest.raises(DatabaseUnavailableError), transaction() as connection:
            connection.execute(raised_by_server(sqlstate))

    write(database, CHANGE)


@ON_POSTGRESQL
@pytest.mark.parametrize("sqlstate", ["22012", "22P02", "23505", "25P02", "42601", "42501", "P0001"])
def test_codes_of_postgresql_that_mean_a_fault_of_ours(database: Database, sqlstate: str) -> None:
    """An error that a repeat would meet again stays what it is."""
    with pytest.raises(DBAPIError) as error, database.write() as connection:
        connection.execute(raised_by_server(sqlstate))

    assert sqlstate == getattr(error.value.orig, "sqlstate", None)


@ON_POSTGRESQL
def test_a_read_only_server(database: Database) -> None:
    """Writers of a server that is read-only are told so, readers go on; afterwards new connections write again."""
    name = database.url.database
    run(database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    database.close()
    try:
        with pytest.raises(DatabaseUnavailableError, match="read-only"):
            write(database, CHANGE)
        with database.read() as connection:
            assert [False] == list(connection.execute(select(controller.c.upgrading)).scalars())
    finally:
        run(database, "SET default_transaction_read_only = off", f'ALTER DATABASE "{name}" RESET ALL')

    # A connection of the read-only time would be read-only for ever.
    write(database, CHANGE)


@ON_POSTGRESQL
@pytest.mark.parametrize("when", ["before", "within", "at the end"])
def test_a_session_that_was_terminated(database: Database, when: str) -> None:
    """A session that an administrator ended is one error within a transaction, and none before it."""
    pids: list[int] = []
    with database.write() as connection:
        pids.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    if when == "before":
        run(database, f"SELECT pg_terminate_backend({pids[0]}, 5000)")
        write(database, CHANGE)
        return
    with unavailable(), database.write() as connection:
        connection.execute(CHANGE)
        run(database, f"SELECT pg_terminate_backend({pids[0]}, 5000)")
        if when == "within":
            connection.execute(CHANGE)

    write(database, CHANGE)


@ON_POSTGRESQL
def test_a_connection_in_use_is_not_tried(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is tried before its use when it has been idle for a while, and not between two transactions."""
    tried: list[object] = []
    dialect = database.writer_engine.dialect
    ping = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda connection: tried.append(connection) or ping(connection))
    for _ in range(3):
        write(database, CHANGE)
    assert tried == []

    monkeypatch.setattr("db.database._IDLE_S", -1.0)
    write(database, CHANGE)

    assert len(tried) == 1


@ON_POSTGRESQL
def test_all_sessions_that_were_terminated(database: Database) -> None:
    """After a server has ended every session each caller gets a new one, without an error."""
    with database.write() as one, database.write() as another:
        pids = [each.execute(text("SELECT pg_backend_pid()")).scalar_one() for each in (one, another)]
    for pid in pids:
        run(database, f"SELECT pg_terminate_backend({pid}, 5000)")

    with database.write() as one, database.write() as another:
        found = {each.execute(text("SELECT pg_backend_pid()")).scalar_one() for each in (one, another)}

    assert len(found) == 2
    assert found.isdisjoint(pids)


@ON_POSTGRESQL
def test_a_transaction_that_idled(database: Database) -> None:
    """PostgreSQL ends a transaction that idles (25P03); that is no fault of the statement that comes next."""
    with unavailable(), database.write() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 50"))
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with database.read() as other:
            wait_for(lambda: not _sessions(other, pid))
        connection.execute(CHANGE)

    write(database, CHANGE)


def _sessions(connection: Connection, pid: int) -> list[int]:
    connection.rollback()
    found = connection.execute(text("SELECT pid FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid})
    return list(found.scalars())


@ON_POSTGRESQL
@pytest.mark.parametrize("bound", ["lock_timeout", "statement_timeout"])
def test_a_lock_that_is_held_too_long(database: Database, bound: str) -> None:
    """Who waits too long for another's lock may try again."""
    with database.write() as holder:
        holder.execute(CHANGE)
        with unavailable(), database.write() as connection:
            connection.execute(text(f"SET LOCAL {bound} = 50"))
            connection.execute(CHANGE)


@ON_POSTGRESQL
def test_two_that_wait_for_each_other(database: Database) -> None:
    """The one that PostgreSQL chose to end a deadlock may try again; the other one goes on."""
    write(database, insert(subcloud_groups).values(**_group()))
    first_holds, ended = Event(), list[str]()

    def other() -> None:
        try:
            with database.write() as connection:
                connection.execute(update(subcloud_groups).values(description="other"))
                first_holds.wait(PATIENCE_S)
                connection.execute(CHANGE)
        except DatabaseUnavailableError:
            ended.append("other")

    thread = Thread(target=other, daemon=True)
    try:
        with database.write() as connection:
            connection.execute(CHANGE)
            thread.start()
            with database.read() as reader:
                wait_for(lambda: _in_transaction(reader) >= 3)
            first_holds.set()
            connection.execute(update(subcloud_groups).values(description="first"))
    except DatabaseUnavailableError:
        ended.append("first")
    thread.join(PATIENCE_S)

    assert 1 == len(ended)


def _in_transaction(connection: Connection) -> int:
    connection.rollback()
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
    return int(connection.execute(text(query)).scalar_one())


def _group() -> dict[str, Any]:
    return {
        "name": "g",
        "description": "d",
        "update_apply_type": "serial",
        "max_parallel_subclouds": 1,
        "created_at": datetime.now(UTC),
    }


def test_a_server_that_is_down() -> None:
    """A server that is shut down, immediately or in order, is away for those who are connected and those who come."""
    with PostgresServer() as server:
        database = Database(server.url())
        with unavailable(), database.write() as connection:
            connection.execute(text("SELECT 1"))
            server.stop("immediate")
            connection.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailableError) as error, database.read():
            pass
        database.close()

        assert "Connection refused" in driver_reason(error.value)
        assert server.password not in f"{driver_reason(error.value)} {error.value}"


@ON_SQLITE
def test_a_full_disk(database: Database) -> None:
    """A disk that is full takes nothing, and may later."""
    with unavailable("disk is full"), database.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        connection.execute(text("CREATE TABLE big AS SELECT zeroblob(1000000) AS content"))


@ON_SQLITE
def test_a_read_only_file(database: Database) -> None:
    """A file that cannot be written now may be later."""
    with unavailable("read-only"), database.write() as connection:
        connection.execute(text("PRAGMA query_only = ON"))
        connection.execute(CHANGE)

    # The connection that could not write is not used again.
    write(database, CHANGE)


@ON_SQLITE
def test_a_file_that_another_process_holds(database: Database) -> None:
    """A writer that waits too long for another process may try again."""
    with database.read() as connection:
        connection.execute(text("PRAGMA busy_timeout = 20"))
    with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError, match="another process"), database.write() as connection:
            pass


@ON_SQLITE
def test_faults_of_our_own_on_sqlite(database: Database) -> None:
    """A statement that is wrong stays an error of its own."""
    for statement in ("SELEC 1", "INSERT INTO controller SELECT * FROM controller"):
        with pytest.raises(DBAPIError) as error:
            write(database, text(statement))
        assert not isinstance(error.value, DatabaseUnavailableError)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """A directory that is not there, such as one that is not mounted yet, makes the database unavailable."""
    database = Database(f"sqlite:///{tmp_path}/absent/prestager.db")

    with pytest.raises(DatabaseUnavailableError, match="cannot be opened"), database.read():
        pass
    database.close()


def test_other_errors_pass() -> None:
    """What is no error of a database, or says nothing of its being away, is not touched."""
    for error in (ValueError("x"), SQLAlchemyError("y"), DatabaseUnavailableError("z")):
        with pytest.raises(type(error)) as passed, unavailable_as_one_error():
            raise error
        assert error is passed.value or isinstance(passed.value, DatabaseUnavailableError)


@ON_SQLITE
def test_nothing_of_a_statement_is_told(new_database_url: Callable[..., str]) -> None:
    """The error's text and reason hold neither the statement nor its values."""
    database = Database(new_database_url())
    with pytest.raises(DatabaseUnavailableError) as error:
        write(database, text("SELECT hidden FROM secret_things WHERE a = 'hidden-value'"))
    database.close()

    assert "hidden-value" not in f"{error.value} {error.value.reason} {driver_reason(error.value)}"
