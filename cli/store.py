"""The database for commands of operators; they may run beside the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bootstrap.store import open_database, prepare_schema
from cli.errors import CommandError
from db.engine import Database
from db.revisions import current_revision, head_revision
from settings.model import Settings


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Give the database as it is, whatever its schema, and close it at the end.

    Raises:
        CommandError: Its place cannot be used.
    """
    try:
        database = open_database(settings)
    except OSError as error:
        raise CommandError(
            f"The data directory {settings.data_dir} cannot be used: {error.strerror}. Set PRESTAGER_DATA_DIR to"
            " a directory that this user can write."
        ) from error
    except ModuleNotFoundError as error:
        raise CommandError(
            f"PRESTAGER_DATABASE_URL needs the Python package {error.name}; install it or use another database."
        ) from error
    try:
        yield database
    finally:
        database.close()


@contextmanager
def store(settings: Settings) -> Iterator[Database]:
    """Give the database with a schema that this program knows; an empty one gets it.

    Raises:
        CommandError: The schema is of another version; it is not changed behind a running service's back.
    """
    with opened(settings) as database:
        revision = current_revision(database)
        if revision is None:
            prepare_schema(database)
        elif revision != head_revision():
            raise CommandError(
                f"The database is at revision {revision}, this program needs {head_revision()}."
                " Stop the service and run: prestager db upgrade"
            )
        yield database
