"""Connections and transactions: one way to read, one way to write, the same on both databases."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from select import POLLIN, poll
from threading import RLock
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from db.errors import is_connection_useless, unavailable_as_one_error
from messages.queues import Call

# SQLite's own files beside the database, as long as it is open.
_COMPANIONS: Final = ("-wal", "-shm", "-journal")
_OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o077

# How long SQLite waits for another process's writer, in milliseconds.
_BUSY_TIMEOUT_MS = 30_000

# Pause between two tries to switch a new file to WAL mode, in seconds.
_WAL_PAUSE_S: Final = 0.02

# When a connection of the pool was given back, and after how many seconds without use it is tried before the next one:
# a firewall may have forgotten it.
_USED_AT: Final = "prestager_used_at"
_IDLE_S: Final = 5.0

# What a connection knows of its installation.
_HAS_BROKER: Final = "prestager_has_broker"

# Nothing waits for ever: a partition, a frozen process that holds a lock, a transaction that is never ended.
_POSTGRESQL_BOUNDS: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "options": "-c idle_in_transaction_session_timeout=15000 -c lock_timeout=10000 -c statement_timeout=30000",
}


# Takes the messages of a committed transaction and the ids of their rows, in any order; returns soon, never raises.
HandOver = Callable[[Sequence[Call], Sequence[int]], None]
_ONE_MOMENT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


class Database:
    """The database of one installation. No connection is made before the first use; safe for threads.

    SQLite runs in WAL mode with `BEGIN IMMEDIATE` for writers: measured on the versions we use, anything else loses
    updates or fails with "database is locked" at once. Writers of this process queue on a lock, for SQLite's own
    waiting sleeps. `has_broker` is whether events and messages wait to be published.
    """

    def __init__(self, url: str, *, has_broker: bool = True) -> None:
        self.url = make_url(url)
        # Name of the process whose relay publishes the messages of this database's transactions; None: without rows.
        self.writer: str | None = ""
        # Gets the messages of a committed transaction, with the ids of their rows; None: this process has no relay.
        self.relay: HandOver | None = None
        self._options = {_HAS_BROKER: has_broker}
        self._sqlite = self.url.get_backend_name() == "sqlite"
        self._writers: Engine = self._engine("BEGIN IMMEDIATE")
        self._readers: Engine = self._engine("BEGIN", is_reader=True)
        self._one_writer = RLock()

    def _engine(self, begin: str, *, is_reader: bool = False) -> Engine:
        engine = self._sqlite_engine(begin) if self._sqlite else self._postgresql_engine(is_reader=is_reader)
        event.listen(engine, "handle_error", self._give_up_useless_connections)
        return engine

    def _postgresql_engine(self, *, is_reader: bool) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=20,
            max_overflow=20,
            connect_args=_POSTGRESQL_BOUNDS,
            execution_options=self._options,
            # Each statement of a reader sees its own moment anyway: to begin and to end a transaction for them would be
            # two round trips more.
            **({"isolation_level": "AUTOCOMMIT"} if is_reader else {}),
        )
        event.listen(engine, "checkin", _note_use)
        if is_reader:
            event.listen(engine, "connect", _refuse_writes)

        @event.listens_for(engine, "checkout")
        def _check(connection: Any, record: ConnectionPoolEntry, proxy: object) -> None:
            del proxy
            if not _may_have_ended(connection, record):
                return
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                # The pool makes a new connection, and gives up all others: the server has restarted.
                raise InvalidatePoolError from error

        return engine

    def _sqlite_engine(self, begin: str) -> Engine:
        engine = create_engine(self.url, pool_size=20, max_overflow=20, execution_options=self._options)
        event.listen(engine, "do_connect", _close_file)
        event.listen(engine, "connect", _configure_sqlite)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _give_up_useless_connections(self, context: ExceptionContext) -> None:
        """Have connections made anew that lead to a server or a file which became read-only, those of readers too."""
        if not is_connection_useless(context.original_exception):
            return
        if context.connection is not None and context.dialect.name == "sqlite":
            # An invalidated connection of SQLite is closed, and its lock freed, when nothing refers to it any more.
            with suppress(SQLAlchemyError, sqlite3.Error):
                context.connection.connection.rollback()
        if not self._sqlite:
            # Only a writer learns of it.
            self._readers.dispose()
        context.is_disconnect = True

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """The engines of writers and of readers."""
        return self._writers, self._readers

    @property
    def writer_engine(self) -> Engine:
        """The engine for writers, for migrations."""
        return self._writers

    def attach_relay(self, writer: str, relay: HandOver) -> None:
        """Have messages marked as those of the process `writer`, and handed to its relay after each commit.

        Without a broker they then get no rows of the outbox: what a crash loses is planned again at the next start.
        Without a relay those of other processes publish them, some seconds later.
        """
        # Without a broker the relay puts them on a queue in memory, and a row would outlive nothing.
        self.writer, self.relay = writer if self._options[_HAS_BROKER] else None, relay

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection inside a writing transaction; commit at the end, roll back on an exception.

        Never hold it across a playbook, a publish or the network.

        Raises:
            DatabaseUnavailableError: The database is away; whether a commit arrived is not known.
        """
        turn = self._one_writer if self._sqlite else nullcontext()
        with turn, unavailable_as_one_error(), self._writers.begin() as connection:
            yield connection

    @contextmanager
    def read(self, *, is_one_moment: bool = False) -> Iterator[Connection]:
        """Give a connection for reading alone: nothing is changed. On PostgreSQL it is in no transaction.

        `is_one_moment` has all its statements see the rows of one moment, on PostgreSQL too.

        Raises:
            DatabaseUnavailableError: The database is away.
        """
        needs_moment = is_one_moment and not self._sqlite
        engine = self._writers if needs_moment else self._readers
        with unavailable_as_one_error(), engine.connect() as connection:
            if needs_moment:
                connection.execute(_ONE_MOMENT)
            yield connection

    def close(self) -> None:
        """Close all connections that are not in use. Repeating it does nothing."""
        self._writers.dispose()
        self._readers.dispose()


def begin_reading(connection: Connection) -> None:
    """Begin a transaction that ends with the reading, for settings that are to end with it; on SQLite there is one."""
    if connection.dialect.name == "postgresql" and _is_idle(connection.connection.dbapi_connection):
        connection.exec_driver_sql("BEGIN")


def _is_idle(connection: Any) -> bool:
    """Return whether a connection to PostgreSQL begins no transaction by itself and is in none."""
    return bool(connection.autocommit and connection.info.transaction_status.name == "IDLE")


def has_broker(connection: Connection) -> bool:
    """Tell whether events that are written by a connection wait to be published."""
    return bool(connection.get_execution_options().get(_HAS_BROKER, True))


def _refuse_writes(connection: Any, record: object) -> None:
    """Have the server refuse what a reader writes, for outside a transaction it would stay.

    Not among the options of the connection: with `target_session_attrs=read-write` it would count as one to a standby.
    """
    del record
    connection.execute("SET default_transaction_read_only = on")
    connection.commit()


def _note_use(connection: object, record: ConnectionPoolEntry) -> None:
    del connection
    record.info[_USED_AT] = monotonic()


def _may_have_ended(connection: Any, record: ConnectionPoolEntry) -> bool:
    """Return whether a connection to PostgreSQL is to be tried before its use, which costs as much as a statement.

    That is, when something has come from the server since its last use, as when it ends a session, or when that is a
    while ago.
    """
    used_at = record.info.get(_USED_AT)
    if used_at is None:
        # A new one.
        return False
    if connection.closed or monotonic() - used_at > _IDLE_S:
        return True
    socket = poll()
    socket.register(connection.fileno(), POLLIN)
    return bool(socket.poll(0))


def _close_file(dialect: object, record: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Keep other users from the database's file, whatever the umask and the directory; SQLite's others get its mode."""
    del dialect, record
    file = _file_of(arguments[0], is_uri=bool(options.get("uri")))
    if file is None:
        return
    for path in (file, *(file.with_name(f"{file.name}{ending}") for ending in _COMPANIONS)):
        # What is another user's cannot be changed; it is warned of elsewhere.
        with suppress(OSError):
            if path.stat().st_mode & _OTHERS:
                path.chmod(_OWNER_ONLY)
    # Where it cannot be made, SQLite has the words for it.
    with suppress(OSError):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        os.fchmod(descriptor, _OWNER_ONLY)
        os.close(descriptor)


def _file_of(name: str, *, is_uri: bool) -> Path | None:
    """Return the file of a database, where links lead to: SQLite's others are beside it. None for one in memory."""
    if is_uri and name.startswith("file:"):
        parts = urlsplit(name)
        if parse_qs(parts.query).get("mode", [""])[-1] == "memory":
            return None
        name = unquote(parts.path)
    return None if name in {"", ":memory:"} else Path(name).resolve()


def _configure_sqlite(connection: Any, record: object) -> None:
    del record
    # The driver's own BEGIN is what loses updates; the "begin" event emits ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    _switch_to_wal(cursor)
    for pragma in (
        "foreign_keys = ON",
        # NORMAL may lose the last commits on power loss, and the outbox promise with them.
        "synchronous = FULL",
        # What was a sealed password is overwritten, not only forgotten.
        "secure_delete = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Have the file in WAL mode; several processes may do it at once over a new file.

    SQLite does not wait by itself where two of them would wait for each other.
    """
    give_up_at = monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() >= give_up_at:
                raise
            sleep(_WAL_PAUSE_S)
        else:
            return
