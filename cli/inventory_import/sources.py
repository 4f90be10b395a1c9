"""Reads the hosts of a file: an Ansible inventory, or a plain list of names. Nothing is judged here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cli.inventory_import.ansible_inventory import PLUGINS, Hosts, read_inventory
from service.errors import CommandError

_ADDRESS: Final = "prestager_oam_address"
# `name` or `name address`; what Ansible would write has brackets, equal signs or colons at the end.
_PLAIN_LINE: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\s+([^\s=\[\]]+))?")
_BYTE_ORDER_MARK: Final = "\ufeff"


def read_hosts(file: Path) -> Hosts:
    """Return the hosts of a file.

    Raises:
        CommandError: The file cannot be read, or holds no host.
    """
    hosts = _read_plain_list(file)
    if hosts is None and not file.is_file():
        # Ansible opens the file anew, and a pipe is read but once.
        raise CommandError(f"{file} is not a regular file; save the inventory to one, such as fleet.yml.")
    if hosts is None:
        hosts = read_inventory(file)
    if not hosts:
        raise CommandError(f"{file} names no host. Give an Ansible inventory or a list of names, one a line.")
    return hosts


def _read_plain_list(file: Path) -> Hosts | None:
    """Return the hosts of a plain list; None when the file is an inventory."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not a text file in UTF-8.") from error
    plugin = PLUGINS.get(file.suffix)
    hosts = None if plugin else _plain_hosts(file, text.removeprefix(_BYTE_ORDER_MARK))
    if hosts is None and plugin != "yaml" and text.startswith(_BYTE_ORDER_MARK):
        # Ansible takes it for a part of the first line.
        raise CommandError(f"{file} begins with a byte order mark; save it as UTF-8 without one.")
    return hosts


def _plain_hosts(file: Path, text: str) -> Hosts | None:
    """Return the hosts of the lines of a file; None when a line is not one of a plain list."""
    matches = [_PLAIN_LINE.fullmatch(line) for line in _content_lines(text)]
    lines = [match.groups() for match in matches if match is not None]
    if len(lines) != len(matches):
        return None
    _refuse_repeats(file, [name for name, _ in lines])
    return {name: {_ADDRESS: address} if address else {} for name, address in lines}


def _content_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        content = line.partition("#")[0].strip()
        if content and content != "---":
            yield content


def _refuse_repeats(file: Path, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise CommandError(f"{file} names hosts more than once.", [f"{name} is there twice." for name in repeated])
