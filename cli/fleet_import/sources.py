"""Reads the hosts of a file: an Ansible inventory, or a plain list of names. Nothing is judged here."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from cli.errors import CommandError
from cli.fleet_import.inventory_faults import inventory_fault

# Name of a host → its variables, those of its groups included.
Hosts = Mapping[str, Mapping[str, Any]]

_ADDRESS: Final = "prestager_oam_address"
# `name` or `name address`; what Ansible would write has brackets, equal signs or colons at the end.
_PLAIN_LINE: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\s+([^\s=\[\]]+))?")
# Suffix of an inventory → the plugin of Ansible that reads it; without one of these both are tried.
_PLUGINS: Final = {".yml": "yaml", ".yaml": "yaml", ".json": "yaml", ".ini": "ini"}
# An inventory of thousands of hosts takes seconds.
_READ_S: Final = 300.0


def read_hosts(file: Path) -> Hosts:
    """Return the hosts of a file.

    Raises:
        CommandError: The file cannot be read, or holds no host.
    """
    hosts = _read_plain_list(file)
    if hosts is None:
        hosts = _read_inventory(file)
    if not hosts:
        raise CommandError(f"{file} names no host. Give an Ansible inventory or a list of names, one a line.")
    return hosts


def _read_plain_list(file: Path) -> Hosts | None:
    """Return the hosts of a plain list; None when the file is something else."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not a text file in UTF-8.") from error
    if file.suffix in _PLUGINS:
        return None
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


def _read_inventory(file: Path) -> Hosts:
    """Let Ansible read the file: nobody else knows its groups, ranges and precedence as well."""
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(file.absolute()), "--list"]
    try:
        with _no_vault_password() as password_file:
            done = subprocess.run(  # noqa: S603 - our own program; the file is an argument of its own
                command,
                env=_environment(file, password_file),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_READ_S,
                check=False,
            )
    except FileNotFoundError as error:
        raise CommandError(f"{command[0]} is missing; install Prestager's dependencies again.") from error
    except subprocess.TimeoutExpired:
        # Without its cause, which holds what Ansible has printed so far.
        raise CommandError(f"Ansible could not read {file} within {_READ_S:g} s; split it.") from None
    document = None if done.returncode else _document(done.stdout)
    if document is None:
        raise CommandError(f"Ansible cannot read {file}.", [inventory_fault(file, done.stderr)])
    known = document["_meta"]["hostvars"]
    return {name: known.get(name, {}) for name in _host_names(document)}


def _document(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def _no_vault_password() -> Iterator[str]:
    """Give a file with a password that opens no vault: what Ansible would decrypt would be kept in the clear."""
    with NamedTemporaryFile("w", prefix="prestager-", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe())
        file.flush()
        yield file.name


def _host_names(document: Mapping[str, Any]) -> list[str]:
    """Return the hosts in the order of the file; one without variables is in no `_meta`."""
    names = [name for group, content in document.items() if group != "_meta" for name in content.get("hosts", ())]
    return list(dict.fromkeys(names))


def _environment(file: Path, password_file: str) -> dict[str, str]:
    """Return the caller's environment, in which an inventory is only read: never run as a program, or decrypted."""
    return {
        **os.environ,
        "ANSIBLE_INVENTORY_ENABLED": _PLUGINS.get(file.suffix, "yaml,ini"),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_VAULT_PASSWORD_FILE": password_file,
        "ANSIBLE_VAULT_IDENTITY_LIST": f"prestager@{password_file}",
        "ANSIBLE_ASK_VAULT_PASS": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }
