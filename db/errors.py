"""Errors of the database: which mean that it is away, and their explanations for operators.

Work that fails because the database is away may succeed later as it is: its caller waits and repeats it, or answers
503. Every other error of the database says that the statement itself is wrong, and repeating it would not help.
Explanations say why the database cannot be used and what to do, without a statement, a value or a password.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from messages.errors import Explanation
from messages.limits import TEXT_LENGTH
from statemachine.errors import PrestagerError

_NO_CONNECTION: Final = "it does not answer, or ended the connection"
_OTHER_SCHEMA: Final = "its schema is not this program's, see prestager db current"

# What a SQLSTATE of PostgreSQL means; a class, its first two characters, counts where the code itself is not named.
_SQLSTATES: Final[Mapping[str, str]] = {
    "08": _NO_CONNECTION,
    # Never 25P02: it follows an error that our own code has swallowed.
    "25006": "it is read-only: a standby, or default_transaction_read_only is set",
    "25P03": "it ended a transaction that was idle for too long",
    "25P04": "it ended a transaction that took too long",
    "28": "it refuses the login",
    "40": "another transaction was in the way",
    # While a backup is loaded, or the schema is changed beside the service.
    "42P01": _OTHER_SCHEMA,
    "42703": _OTHER_SCHEMA,
    "53": "it is out of disk, memory or connections",
    "55": "a lock was held for too long, or it is still recovering",
    "57": "it is shutting down, starting, or ended the statement",
    "58": "its machine has a fault",
    "XX": "it reports a fault of its own, or damaged data",
}

# What a primary result code of SQLite means.
_SQLITE_CODES: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "another process is writing to the file",
    sqlite3.SQLITE_LOCKED: "another connection is writing to the file",
    sqlite3.SQLITE_NOMEM: "memory is out",
    sqlite3.SQLITE_READONLY: "the file or its directory is read-only",
    sqlite3.SQLITE_INTERRUPT: "the statement was ended",
    sqlite3.SQLITE_IOERR: "the file cannot be read or written",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "the file's lock cannot be taken",
    sqlite3.SQLITE_NOTADB: "the file is no database",
}
_PRIMARY_CODE: Final = 0xFF
# SQLite has no code for it.
_NO_SUCH: Final = ("no such table", "no such column")

# A connection that says so goes on saying it; a new one may lead to another server, or to a file that can be written.
_LASTING_SQLSTATES: Final = frozenset({"25006"})
_LASTING_SQLITE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)

# Where the driver gives no code, as for a connection that breaks.
_KINDS_WITHOUT_CODE: Final = (OperationalError, InterfaceError, InternalError)


class DatabaseUnavailableError(PrestagerError, SQLAlchemyError):
    """The database cannot do now what was asked, and may later.

    The transaction was rolled back, or it is not known whether its commit arrived: what is repeated must bear to be
    done twice. The message holds no statement and no value.
    """

    def __init__(self, reason: str = _NO_CONNECTION) -> None:
        super().__init__(f"The database is not available: {reason}.")
        self.reason = reason


class TokenNameError(PrestagerError, ValueError):
    """The name cannot be that of a token."""

    def __init__(self) -> None:
        super().__init__(f"A token's name must have 1 to {TEXT_LENGTH} printable characters.")


class TokenExistsError(PrestagerError):
    """A token of this name is in force; revoke it first or choose another name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Token '{name}' is in force; revoke it first or choose another name.")
        self.name = name


class TokenNotFoundError(PrestagerError):
    """No token of this name is in force."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No token '{name}' is in force.")
        self.name = name


class UnsealingError(PrestagerError):
    """The sealed secret was made with another key, for another command, or was altered."""

    def __init__(self, missing_key: str | None = None) -> None:
        if missing_key is None:
            text = (
                "The stored password cannot be opened: PRESTAGER_SECRET_KEY is not the key it was sealed with."
                " Set the key of this installation, or create the strategy again."
            )
        else:
            text = (
                f"The stored password cannot be opened: the secret key {missing_key}, which sealed it, is not among"
                " the keys of this process. Put it back into PRESTAGER_SECRET_KEY_FILE, or create the strategy again."
            )
        super().__init__(text)


class ProblemNotFoundError(PrestagerError):
    """The beginning of an id does not mean one problem of the strategy; the message has those that there are."""

    def __init__(self, strategy_id: int, begin: str, candidates: Sequence[str], *, is_ambiguous: bool) -> None:
        if is_ambiguous:
            told = f"Several problems of strategy {strategy_id} have ids that begin with {begin}: "
        else:
            there_are = "there is " if len(candidates) == 1 else "there are " if candidates else "it has none"
            told = f"No problem of strategy {strategy_id} has an id that begins with {begin}; {there_are}"
        super().__init__(told + ", ".join(candidates))


class StalePlanError(PrestagerError):
    """A row has changed since the plan was made: roll the transaction back, load a snapshot and plan again."""


class RestoreError(PrestagerError):
    """The database cannot be made to go on; nothing was changed. The message says what to do."""


@contextmanager
def unavailable_as_one_error() -> Iterator[None]:
    """Raise what says that the database is away as `DatabaseUnavailableError`; other errors pass.

    Raises:
        DatabaseUnavailableError: The database is away.
    """
    try:
        yield
    except SQLAlchemyError as error:
        reason = why_unavailable(error)
        if reason is None:
            raise
        raise DatabaseUnavailableError(reason) from error


def why_unavailable(error: BaseException) -> str | None:
    """Return why the database is away, in words for people; None when the error says something else."""
    match error:
        case DatabaseUnavailableError():
            return error.reason
        case PoolTimeoutError():
            return "no connection was free in time"
        case PendingRollbackError():
            return _NO_CONNECTION
        case DBAPIError():
            return _reason_of_driver(error)
        case _:
            return None


def _reason_of_driver(error: DBAPIError) -> str | None:
    if (state := sqlstate(error.orig)) is not None:
        return _SQLSTATES.get(state) or _SQLSTATES.get(state[:2])
    if (code := sqlite_code(error.orig)) is not None:
        return _SQLITE_CODES.get(code) or (_OTHER_SCHEMA if str(error.orig).startswith(_NO_SUCH) else None)
    is_away = error.connection_invalidated or isinstance(error, _KINDS_WITHOUT_CODE)
    return _NO_CONNECTION if is_away else None


def driver_reason(error: BaseException) -> str:
    """Return the first line of what the driver says, for operators; it holds no statement and no value."""
    cause = error.__cause__ if isinstance(error, DatabaseUnavailableError) and error.__cause__ else error
    text = str(getattr(cause, "orig", cause)).strip()
    return text.splitlines()[0] if text else type(cause).__name__


def is_connection_useless(error: BaseException | None) -> bool:
    """Return whether an error of a driver means that its connection should be given up for a new one."""
    return sqlstate(error) in _LASTING_SQLSTATES or sqlite_code(error) in _LASTING_SQLITE_CODES


def sqlstate(error: BaseException | None) -> str | None:
    """Return the code of an error of PostgreSQL's driver; None where it has none, as while connecting."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) and state else None


def sqlite_code(error: BaseException | None) -> int | None:
    """Return the primary result code of an error of SQLite's driver."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & _PRIMARY_CODE if isinstance(code, int) else None


_URL: Final = "PRESTAGER_DATABASE_URL"
_FILE: Final = "prestager.db in PRESTAGER_DATA_DIR"
_LOGIN: Final = Explanation(reason="refuses the user or its password", remedy=f"Correct user and password in {_URL}.")
_MISSING: Final = Explanation(
    reason="is not there: the server has none of this name", remedy=f"Correct the name in {_URL}, or make it: createdb"
)
_REFUSED: Final = Explanation(
    reason="takes no connection: nothing listens at this port",
    remedy=f"Start PostgreSQL, or correct host and port in {_URL}.",
)
_NAME: Final = Explanation(
    reason="cannot be found: its host name is not known",
    remedy=f"Correct the host in {_URL}, or the name service of this machine.",
)
_NOT_LET_IN: Final = Explanation(
    reason="does not let this user in from this machine",
    remedy="Add a line to its pg_hba.conf, and have it read again.",
)
_TLS: Final = Explanation(
    reason="and this program do not agree about TLS",
    remedy=f"Correct sslmode and sslrootcert in {_URL}, or the server's certificate.",
)
_SILENT: Final = Explanation(
    reason="does not answer", remedy=f"Correct host and port in {_URL}, and see that no firewall is in between."
)
_STARTING: Final = Explanation(reason="is starting or shutting down", remedy="Try again in a moment.")
_NO_FILE_DATABASE: Final = Explanation(
    reason="is damaged, or the file is no database",
    remedy=f"Put {_FILE} back from a backup, or set PRESTAGER_DATA_DIR to another directory.",
)
_FULL: Final = Explanation(
    reason="cannot be written: the disk is full",
    remedy="Make room, or set PRESTAGER_DATA_DIR to a directory on another disk.",
)
_NO_RIGHTS: Final = Explanation(
    reason="cannot be opened or written by this user",
    remedy=f"Give this user {_FILE} and the directory, or set PRESTAGER_DATA_DIR to a directory that it can write.",
)
_DISK: Final = Explanation(
    reason="cannot be read or written: its file system has a fault or is full",
    remedy="Look at the disk of PRESTAGER_DATA_DIR and at the kernel's log.",
)
_BUSY: Final = Explanation(
    reason="is being written by another process", remedy="Try again in a moment, or stop the service before."
)

_SQLITE: Final[Mapping[int, Explanation]] = {
    sqlite3.SQLITE_NOTADB: _NO_FILE_DATABASE,
    sqlite3.SQLITE_CORRUPT: _NO_FILE_DATABASE,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CANTOPEN: _NO_RIGHTS,
    sqlite3.SQLITE_READONLY: _NO_RIGHTS,
    sqlite3.SQLITE_PERM: _NO_RIGHTS,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
}
_EXPLAINED_SQLSTATES: Final[Mapping[str, Explanation]] = {
    "28P01": _LOGIN,
    "28000": _NOT_LET_IN,
    "3D000": _MISSING,
    "57P03": _STARTING,
    "53100": Explanation(reason="cannot be written: its disk is full", remedy="Make room on its machine."),
}
# A failed login has no code, only the server's words, which are English unless lc_messages says otherwise. An error
# that fits neither is reported by its code or, without one, in the driver's words.
_WORDS: Final = (
    ("password authentication failed", _LOGIN),
    ("no password supplied", _LOGIN),
    ("role ", _LOGIN),
    ("no pg_hba.conf entry", _NOT_LET_IN),
    ("the database system is", _STARTING),
    ("database ", _MISSING),
    ("resolve host", _NAME),
    ("translate host name", _NAME),
    ("Connection refused", _REFUSED),
    ("SSL", _TLS),
    ("certificate", _TLS),
    ("timeout", _SILENT),
    ("timed out", _SILENT),
)


def explain_database_error(error: BaseException) -> Explanation:
    """Return what an error of SQLAlchemy's, or our `DatabaseUnavailableError`, means."""
    original = _original(error)
    state, code = sqlstate(original), sqlite_code(original)
    known = _SQLITE.get(code) if code is not None else _EXPLAINED_SQLSTATES.get(state or "")
    if known is not None:
        return known
    text = driver_reason(error)
    if state is None and code is None:
        # "FATAL:" and after it what the server says; before it are address and port.
        said = text.rpartition("FATAL:")[2]
        found = next((problem for words, problem in _WORDS if words in said), None)
        if found is not None:
            return found
    return Explanation(
        reason=f"cannot be used: {why_unavailable(error) or text}",
        remedy=f"Check {_URL} and that the server runs; see: prestager doctor",
    )


def _original(error: BaseException) -> BaseException | None:
    cause = error.__cause__ if isinstance(error, DatabaseUnavailableError) and error.__cause__ else error
    original = getattr(cause, "orig", None)
    return original if isinstance(original, BaseException) else None
