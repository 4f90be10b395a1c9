"""Explain errors of the database's drivers in words for operators: why it cannot be used, and what to do.

A driver's own words name its parts and leave out what to do. Nothing here repeats a statement, a value or a password.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from db.unavailable import DatabaseUnavailableError, driver_reason, sqlite_code, sqlstate, why_unavailable
from messages.errors import Explanation

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
_SQLSTATES: Final[Mapping[str, Explanation]] = {
    "28P01": _LOGIN,
    "28000": _NOT_LET_IN,
    "3D000": _MISSING,
    "57P03": _STARTING,
    "53100": Explanation(reason="cannot be written: its disk is full", remedy="Make room on its machine."),
}
# A login that fails has no code, but for the server's words, which are English unless lc_messages says otherwise. What
# fits nothing is told by its code or, at last, in the driver's words.
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
    known = _SQLITE.get(code) if code is not None else _SQLSTATES.get(state or "")
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
