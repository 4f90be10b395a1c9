"""The database for commands of operators; they may run beside the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from db.database import Database
from db.migrate import current_revision
from service.database import open_database, prepare_schema, schema_error
from service.errors import CommandError
from service.settings import Settings


@contextmanager
def unchecked_database(settings: Settings) -> Iterator[Database]:
    """Give the database as it is, whatever its schema, and close it at the end.

    Raises:
        StartError: Its place cannot be used.
    """
    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def checked_database(settings: Settings) -> Iterator[Database]:
    """Give the database with a schema that this program knows; an empty one gets it.

    Raises:
        CommandError: The schema is of another version; it is not changed behind a running service's back.
    """
    with unchecked_database(settings) as database:
        revision = current_revision(database)
        if revision is None:
            prepare_schema(database)
        elif (fault := schema_error(revision)) is not None:
            raise CommandError(fault)
        yield database
