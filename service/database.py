"""The data directory and the database, before anything else is built."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from db.database import Database
from db.migrate import current_revision, head_revision, known_revisions
from service.errors import StartError
from service.settings import Settings

_LOCK_FILE: Final = "prestager.lock"


@contextmanager
def only_instance(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process; the lock goes with the process, however it dies.

    Raises:
        StartError: Another process holds it, or it cannot be made or written.
    """
    with _data_dir_usable(data_dir):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / _LOCK_FILE).open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(
                f"Another Prestager uses {data_dir}. Stop it, or set PRESTAGER_DATA_DIR to another directory."
            ) from error
        yield


def open_database(settings: Settings) -> Database:
    """Return the database; SQLite's directory is made when it is missing.

    Raises:
        StartError: The directory cannot be made, or the driver that the URL names is not installed.
    """
    if settings.database_url is None:
        with _data_dir_usable(settings.data_dir):
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return Database(settings.sqlalchemy_url, has_broker=settings.broker_url is not None)
    except ModuleNotFoundError as error:
        raise StartError(
            f"PRESTAGER_DATABASE_URL needs the Python package {error.name}; install it or use another database."
        ) from error


@contextmanager
def _data_dir_usable(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartError(
            f"The data directory {data_dir} cannot be used: {error.strerror}. Set PRESTAGER_DATA_DIR to a directory"
            " that this user can write."
        ) from error


def schema_error(revision: str | None) -> str | None:
    """Return why this program does not work with a database of this revision, and what to do; None where it does.

    An empty database (None) is filled by the first start.
    """
    head = head_revision()
    if revision in (None, head):
        return None
    if revision not in known_revisions():
        return (
            f"The database is at revision {revision}, which this program does not know: a newer one has upgraded it."
            f" Start that one, or let it run: prestager db downgrade {head}"
        )
    return (
        f"The database is at revision {revision}, this program needs {head}. Stop the service and run: prestager db"
        " upgrade"
    )


def prepare_schema(database: Database) -> None:
    """Bring the schema up to date; parts that start together do so in turn, and once.

    Raises:
        StartError: The schema is of a newer program than this one.
    """
    revision = current_revision(database)
    if revision == head_revision():
        return
    if revision is not None and revision not in known_revisions():
        raise StartError(schema_error(revision))
    # Alembic takes a quarter of a second to load, and most starts find the newest schema.
    from db.migrate import upgrade  # noqa: PLC0415

    upgrade(database)
