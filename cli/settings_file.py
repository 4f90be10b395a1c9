"""Writes settings into the operator's file and secrets into files beside it: all that is wanted, or nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from messages.errors import TomlError
from messages.parse_errors import read_toml
from service.errors import CommandError

_HEAD: Final = "\n# From dcmanager's configuration.\n"
_GROUP_MAY_READ: Final = 0o640
_OWNER_MAY_READ: Final = 0o600
_OTHERS_MAY_WRITE: Final = 0o022


def add_settings(text: str, wanted: Mapping[str, str | int | float], *, replace: bool) -> str:
    """Return a file of settings with the wanted ones; comments and all others stay.

    Raises:
        CommandError: Some are set to something else and may not be replaced, or the text is not TOML.
    """
    try:
        present = read_toml(text)
    except TomlError as error:
        raise CommandError(f"The file of settings is not TOML: {error}. Correct it first.") from None
    differing = sorted(name for name, value in wanted.items() if name in present and present[name] != value)
    if differing and not replace:
        raise CommandError(
            "Nothing was written: some settings have another value already; --replace takes dcmanager's.",
            [f"{name} is set to something else." for name in differing],
        )
    for name in differing:
        text = re.sub(rf"(?m)^{name}[ \t]*=.*$", lambda _, name=name: _line(name, wanted[name]), text)  # type: ignore[misc]
    fresh = [_line(name, value) for name, value in wanted.items() if name not in present]
    if not fresh:
        return text
    top = _end_of_top(text)
    return text[:top] + _HEAD + "\n".join(fresh) + "\n" + text[top:]


def _end_of_top(text: str) -> int:
    """Return the place in a TOML text where its first table begins, else that of its end."""
    for found in re.finditer(r"(?m)^[ \t]*\[", text):
        try:
            read_toml(text[: found.start()])
        except TomlError:
            # Within a text or a list of several lines.
            continue
        return found.start()
    return len(text)


def is_set(text: str, name: str) -> bool:
    """Tell whether a file of settings has this one; a text that is not TOML has none."""
    try:
        return name in read_toml(text)
    except TomlError:
        return False


def _line(name: str, value: str | float) -> str:
    # JSON's strings and numbers are TOML's too.
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"


def write_private(file: Path, content: str) -> None:
    """Write a file whole or not at all, for its owner; and for the folder's group, if that is not root's own.

    Raises:
        CommandError: It cannot be written.
    """
    check_directory(file.parent)
    draft = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_MAY_READ)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            group = file.parent.stat().st_gid
            # So that the service's user reads what root has written.
            if os.geteuid() == 0 and group != 0:
                os.fchown(target.fileno(), 0, group)
                os.fchmod(target.fileno(), _GROUP_MAY_READ)
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        draft.rename(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from error


def check_directory(directory: Path) -> None:
    """Refuse, as root, a directory in which another user could put links where files are written.

    Raises:
        CommandError: Another user owns it, or may write it.
    """
    if os.geteuid() != 0 or not directory.is_dir():
        return
    facts = directory.stat()
    if facts.st_uid != 0 or facts.st_mode & _OTHERS_MAY_WRITE:
        raise CommandError(f"{directory} can be written by other users than root; give --out in a directory of root's.")
