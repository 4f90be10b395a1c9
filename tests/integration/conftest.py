"""The databases that integration tests run on: SQLite and PostgreSQL, copied from one that was migrated once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg import sql
from psycopg.types.json import Json
from sqlalchemy.engine import make_url

from db.database import Database
from db.migrate import upgrade
from db.schema import metadata
from tests.support.migrated_database import place_migrated
from tests.support.postgres_server import PostgresServer


class DatabaseMaker(Protocol):
    """Makes empty databases of one kind and takes them away again."""

    def database(self, *, migrated: bool = True, unused: bool = False) -> AbstractContextManager[str]:
        """Give the SQLAlchemy address of an empty database, with the newest schema or with none.

        With `unused` no other test has had it or gets it: it has no statistics of others' rows, and may be altered.
        """


class SqliteDatabases:
    """Makes files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def database(self, *, migrated: bool = True, unused: bool = False) -> Iterator[str]:
        """Give a file of its own, which is always unused."""
        file = self._directory / f"{uuid4()}.db"
        yield place_migrated(file) if migrated else f"sqlite:///{file}"


class PostgresDatabases:
    """Gives databases as they were right after migration, over and over: a copy costs 0.2 s, emptying one 0.002 s.

    To empty it, a database has a session that stays: a new one would have to learn about all tables first.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free: list[str] = []
        self._sessions: dict[str, psycopg.Connection[tuple[Any, ...]]] = {}
        template = server.create_database()
        database = Database(server.url(template))
        upgrade(database)
        database.close()
        self._template = template
        with connected(server, template) as connection:
            self._groups = connection.execute("SELECT * FROM subcloud_groups").fetchall()
            counters = connection.execute(
                "SELECT sequencename, coalesce(last_value, 1), last_value IS NOT NULL FROM pg_sequences"
            ).fetchall()
        # Sent at once: forty statements one by one took longer than many a test.
        self._emptying = sql.SQL("; ").join(_emptying(counters))

    @contextmanager
    def database(self, *, migrated: bool = True, unused: bool = False) -> Iterator[str]:
        """Give a database that no other test uses meanwhile."""
        if unused or not migrated:
            yield self._server.url(self._server.create_database(self._template if migrated else "template1"))
            return
        name = self._free.pop() if self._free else self._server.create_database(self._template)
        yield self._server.url(name)
        self._empty(name)
        self._free.append(name)

    def close(self) -> None:
        """End the sessions."""
        for session in self._sessions.values():
            session.close()

    def _empty(self, name: str) -> None:
        # A test may have restarted the server.
        with suppress(psycopg.OperationalError):
            if name in self._sessions:
                self._empty_by(self._sessions[name])
                return
        self._sessions[name] = connected(self._server, name)
        self._empty_by(self._sessions[name])

    def _empty_by(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        with connection.transaction():
            connection.execute(self._emptying)
            for row in self._groups:
                values = sql.SQL(", ").join(sql.Placeholder() * len(row))
                written = [Json(value) if isinstance(value, dict) else value for value in row]
                connection.execute(sql.SQL("INSERT INTO subcloud_groups VALUES ({})").format(values), written)


def _emptying(counters: list[tuple[Any, ...]]) -> Iterator[sql.Composable]:
    """Yield the statements that make a database what it was after migration, but for the groups of subclouds."""
    yield sql.SQL(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    # Without the foreign keys, so that no order is needed.
    yield sql.SQL("SET LOCAL session_replication_role = replica")
    for table in metadata.tables:
        if table != "controller":
            yield sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
    yield sql.SQL("UPDATE controller SET upgrading = false")
    for counter in counters:
        yield sql.SQL("SELECT setval({}, {}, {})").format(*map(sql.Literal, counter))


def connected(server: PostgresServer, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection that commits each statement."""
    address = make_url(server.url(database)).set(drivername="postgresql")
    return psycopg.connect(address.render_as_string(hide_password=False), autocommit=True)


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """Log tracebacks as they are: the coloured ones with all variables take seconds each."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give the session's private PostgreSQL; it need not survive the machine, so it never waits for the disk."""
    with PostgresServer() as server:
        with connected(server) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    """Give the maker of files."""
    return SqliteDatabases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def postgresql_databases(postgres: PostgresServer) -> Iterator[PostgresDatabases]:
    """Give the maker of PostgreSQL databases."""
    databases = PostgresDatabases(postgres)
    yield databases
    databases.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Give the kind of database that the test runs on: each test runs on both, unless it is parametrised otherwise."""
    return str(request.param)


@pytest.fixture
def database_maker(request: pytest.FixtureRequest, database_kind: str) -> DatabaseMaker:
    """Give the maker of that kind."""
    # Asked for by name, so that a server starts only if a test needs it.
    maker: DatabaseMaker = request.getfixturevalue(f"{database_kind}_databases")
    return maker


@pytest.fixture
def new_database_url(database_maker: DatabaseMaker) -> Iterator[Callable[..., str]]:
    """Give a function that returns the address of a new database, see `DatabaseMaker`; all are gone in the end."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(database_maker.database(**options))
