"""Errors of both databases' drivers in words for operators."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from db.database import Database
from db.errors import explain_database_error
from tests.support.postgres_server import PostgresServer
from tests.support.tcp_proxy import HOST

POSTGRESQL = {
    "password": ({"password": "hunter2"}, "refuses the user or its password", "Correct user and password"),
    "user": ({"username": "nobody", "password": "hunter2"}, "refuses the user or its password", "Correct user"),
    "database": ({"database": "nowhere"}, "is not there", "createdb"),
    "port": ({"port": 9, "password": "hunter2"}, "nothing listens at this port", "Start PostgreSQL"),
    "name": ({"host": "no-such-host.invalid"}, "host name is not known", "Correct the host"),
    "tls": ({"query": {"sslmode": "require"}}, "do not agree about TLS", "sslmode"),
}
# Words of the drivers, and the secret.
NAMES = ("FATAL", "psycopg", "sqlite3", "Error", "connection to server", "hunter2", HOST)


def said(url: URL) -> tuple[str, str]:
    """Return reason and remedy of a first use that fails."""
    database = Database(url.render_as_string(hide_password=False))
    try:
        with pytest.raises(SQLAlchemyError) as error, database.read():
            pass
    finally:
        database.close()
    problem = explain_database_error(error.value)
    return problem.reason, problem.remedy


@pytest.mark.parametrize("name", POSTGRESQL)
def test_postgresql(postgres: PostgresServer, name: str) -> None:
    """Each reason that keeps PostgreSQL from being used has its own sentence and remedy, without the driver's words."""
    change, reason, remedy = POSTGRESQL[name]

    found = said(make_url(postgres.url()).set(**change))

    assert reason in found[0]
    assert remedy in found[1]
    assert [] == [word for word in NAMES if word in " ".join(found)]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A file of anything else is told with the way to a good one."""
    file = tmp_path / "prestager.db"
    file.write_bytes(b"not a database" * 100)

    reason, remedy = said(URL.create("sqlite", database=str(file)))

    assert "the file is no database" in reason
    assert "from a backup" in remedy


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be opened is told with the rights that it needs."""
    reason, remedy = said(URL.create("sqlite", database=str(tmp_path / "nowhere" / "prestager.db")))

    assert "cannot be opened or written by this user" in reason
    assert "PRESTAGER_DATA_DIR" in remedy


def test_a_full_disk(tmp_path: Path) -> None:
    """A disk that is full while the database is written is told as that."""
    database = Database(f"sqlite:///{tmp_path / 'prestager.db'}")
    try:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x)")
            # What SQLite says of its limx
            connection.exec_driver_sql("PRAGMA max_page_count = 3")
        with pytest.raises(SQLAlchemyError) as error, database.write() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (zeroblob(1000000))")
    finally:
        database.close()

    assert "cannot be written: the disk is full" == explain_database_error(error.value).reason
