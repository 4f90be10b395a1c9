"""The installation for commands of operators beside the service: database, secret keys, and their name in the audit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from typing import Final

from client.contexts import OF_INSTALLATION, ServerOptions, choose_context, names_an_api
from client.errors import ClientError
from db.database import Database
from db.encryption import Sealer
from db.migrate import current_revision
from service.database import open_database, prepare_schema, schema_error
from service.errors import CommandError
from service.key_file import load_sealer
from service.load_settings import read_settings
from service.settings import Settings

# What says where the parts of an installation are.
_SETTINGS: Final = (
    *OF_INSTALLATION,
    *("PRESTAGER_DATABASE_URL_FILE", "PRESTAGER_BROKER_URL", "PRESTAGER_BROKER_URL_FILE"),
    *("PRESTAGER_SECRET_KEY", "PRESTAGER_SECRET_KEY_FILE"),
)


def require_installation(why: str) -> None:
    """Do nothing where an installation may be on this machine, or nothing names one elsewhere.

    Args:
        why: Why the command works on the controller alone, as the end of a sentence.

    Raises:
        CommandError: The operator's file or the environment names an API elsewhere, and nothing an installation here.
    """
    if has_installation(os.environ) or not names_an_api(ServerOptions(), os.environ):
        return
    try:
        where = f", whose API is {choose_context(ServerOptions(), os.environ).url}"
    except ClientError:
        # Without a token, or with several contexts.
        where = ""
    raise CommandError(
        f"This command works on the controller alone: {why}. There is no installation on this machine; run it on the"
        f" controller{where}. Where one of this machine is meant, set PRESTAGER_CONFIG or PRESTAGER_DATA_DIR."
    )


def has_installation(environment: Mapping[str, str]) -> bool:
    """Return whether settings name an installation of this machine, or its database is at the usual place."""
    if any(environment.get(name) for name in _SETTINGS):
        return True
    try:
        return Path(Settings.model_fields["data_dir"].get_default(), "prestager.db").exists()
    except OSError:
        # It is another user's.
        return True


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
