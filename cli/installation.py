"""The installation for commands of operators beside the service: database, secret keys, and their name in the audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser

from db.database import Database
from db.encryption import Sealer
from db.migrate import current_revision
from service.database import open_database, prepare_schema, schema_error
from service.errors import CommandError
from service.key_file import load_sealer
from service.load_settings import read_settings
from service.settings import Settings


@contextmanager
def unchecked_database(settings: Settings | None = None) -> Iterator[Database]:
    """Give the database, whatever its schema, and close it at the end.

    Args:
        settings: Those of the installation; None: they are read.

    Raises:
        StartError: Its place cannot be used.
    """
    database = open_database(settings or read_settings())
    try:
        yield database
    finally:
        database.close()


@contextmanager
def checked_database(settings: Settings | None = None) -> Iterator[Database]:
    """Give the database with a schema that this program knows; an empty one gets it.

    Args:
        settings: Those of the installation; None: they are read.

    Raises:
        CommandError: The schema is of another version; it is not changed behind a running service's back.
    """
    with unchecked_database(settings) as database:
        revision = current_revision(database)
        if revision is None:
            prepare_schema(database)
        elif (error := schema_error(revision)) is not None:
            raise CommandError(error)
        yield database


def installation_sealer(settings: Settings | None = None) -> Sealer:
    """Return the sealer with the keys that the installation has.

    Args:
        settings: Those of the installation; None: they are read.

    Raises:
        CommandError: There is no key yet.
    """
    settings = settings or read_settings()
    # The service makes a missing key; made here it would be a key that no worker has.
    if settings.secret_key is None and settings.secret_key_file is None and not settings.key_path.exists():
        raise CommandError(
            f"There is no secret key at {settings.key_path}: the first start of the service makes it. Where the"
            " installation's key is elsewhere, set PRESTAGER_SECRET_KEY_FILE to it."
        )
    return load_sealer(settings)


def shell_caller() -> str:
    """Return what the audit calls an operator who runs a command on this machine, such as `shell/root`."""
    try:
        return f"shell/{getuser()}"
    except (KeyError, OSError):
        # A container may have no name for its user.
        return "shell/unknown"
