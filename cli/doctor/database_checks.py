"""The database: reached, of our schema, and on our time. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.finding import Finding, fail, ok, warn
from cli.doctor.subcloud_checks import subcloud_findings
from db.database import Database
from db.errors import explain_database_error
from db.load_snapshot import database_time
from db.migrate import current_revision, head_revision
from db.restored import refused_by_sites
from service.database import schema_error
from service.settings import Settings

_SKEW_S: Final = 5.0
# How far back failures are looked at.
_LOOKED_BACK: Final = timedelta(days=7)


def store_findings(settings: Settings) -> Iterator[Finding]:
    """Look at the database; what cannot be asked any more is left out."""
    database = Database(settings.store_url)
    try:
        file = _sqlite_file(database)
        # A connection would make the file.
        if file is not None and not file.exists():
            yield warn("database", f"{file} is not there yet; the first start makes it.")
            return
        yield from _ask(database, is_file=file is not None)
        if file is not None and settings.broker_url is not None:
            yield warn(
                "database",
                f"{file} is a file of this machine; set PRESTAGER_DATABASE_URL to a PostgreSQL before parts run on"
                " other machines.",
            )
    except SQLAlchemyError as error:
        problem = explain_database_error(error)
        yield fail("database", f"{problem.reason}. {problem.remedy}")
    finally:
        database.close()


def _sqlite_file(database: Database) -> Path | None:
    url = database.url
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _ask(database: Database, *, is_file: bool) -> Iterator[Finding]:
    revision, head = current_revision(database), head_revision()
    yield ok("database", f"{database.url.get_backend_name()} answers.")
    if revision == head:
        yield ok("schema", f"revision {revision}, the newest.")
        yield from subcloud_findings(database)
    elif revision is None:
        yield warn("schema", "the database is empty; the first start fills it, or now: prestager db upgrade")
    else:
        yield fail("schema", schema_error(revision) or "")
    yield ok("clock", "the database is on this machine's own.") if is_file else _skew(database)
    if not is_file:
        yield from _read_only(database)
    if revision == head:
        yield from _fences(database)


def _read_only(database: Database) -> Iterator[Finding]:
    with database.read() as connection:
        is_read_only = connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
    if is_read_only:
        yield fail(
            "database",
            "is read-only: a standby, or default_transaction_read_only is set. Promote it, or name in"
            " PRESTAGER_DATABASE_URL the server that takes writes (target_session_attrs=read-write).",
        )


def _fences(database: Database) -> Iterator[Finding]:
    with database.read() as connection:
        count = refused_by_sites(connection, datetime.now(UTC) - _LOOKED_BACK)
    if count:
        yield warn(
            "restored backup",
            f"sites have refused {count} runs as superseded by newer ones. If the database was restored from a backup,"
            " stop the service and run: prestager db restored",
        )


def _skew(database: Database) -> Finding:
    with database.read() as connection:
        before = time()
        theirs = database_time(connection)
        skew = theirs - (before + time()) / 2
    if abs(skew) <= _SKEW_S:
        return ok("clock", f"the database's differs by {abs(skew):.1f} s.")
    side = "ahead" if skew > 0 else "behind"
    return warn(
        "clock",
        f"the database's is {abs(skew):.0f} s {side}: leases are safe, times in answers and logs are not. Have both"
        " machines synchronise their clocks.",
    )
