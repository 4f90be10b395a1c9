"""Warns of files and directories with secrets that other users of this machine can read. Changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from service.load_settings import config_file, holds_secrets, variable_of
from service.settings import CONFIG_FILE_VARIABLE, Settings

# Settings that name a file whose content is secret.
SECRET_FILES: Final = (
    "secret_key_file",
    "tls_key_file",
    "database_url_file",
    "broker_url_file",
    "keystone_password_file",
    "site_password_file",
    "controller_password_file",
    "tracing_headers_file",
)
# A container's own; it has one user.
_CONTAINER_SECRETS: Final = Path("/run/secrets")


def file_right_warnings(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each file or directory with secrets that other users can read."""
    if (who := _readers(settings.data_dir)) is not None:
        yield (
            f"PRESTAGER_DATA_DIR {settings.data_dir} can be read by {who}; it holds the database and the key."
            f" Close it: chmod 700 {settings.data_dir}"
        )
    for name, path in _secret_files(settings):
        if path.parent != _CONTAINER_SECRETS and (who := _readers(path)) is not None:
            yield f"{name} {path} can be read by {who}. Close it: chmod 600 {path}, or 640 with the service's group"
    file = config_file()
    if file is not None and holds_secrets(file) and (who := _readers(file)) is not None:
        yield (
            f"{CONFIG_FILE_VARIABLE} {file} holds a secret and can be read by {who}. Close it: chmod 600 {file}, or"
            " 640 with the service's group"
        )


def _secret_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    for field in SECRET_FILES:
        path = getattr(settings, field)
        if path is not None:
            yield variable_of(field), path
    if settings.secret_key is None and settings.secret_key_file is None:
        yield "The secret key", settings.key_path


def _readers(path: Path) -> str | None:
    """Return the users that can read or write `path` beside this user, root and our own group; None for none."""
    try:
        # What counts is where links lead.
        place = path.resolve(strict=True)
        facts = place.stat()
        ways = [parent.stat().st_mode for parent in place.parents]
    except OSError:
        return None
    # Root looks at files of the service's user too, and does not know who that is.
    if os.geteuid() not in {0, facts.st_uid} and facts.st_uid != 0:
        return f"user {facts.st_uid}, who owns it"
    if facts.st_mode & stat.S_IRWXO and all(mode & stat.S_IXOTH for mode in ways):
        return "every user"
    group_may = facts.st_mode & stat.S_IRWXG and facts.st_gid not in {0, os.getegid()}
    if group_may and all(mode & (stat.S_IXOTH | stat.S_IXGRP) for mode in ways):
        return f"the users of group {facts.st_gid}"
    return None
