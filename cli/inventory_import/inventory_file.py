"""Read the hosts of a file: a plain list of names, or an inventory that Ansible reads.

Only Ansible knows the groups, ranges and precedence of an inventory. It runs in an environment and with a configuration
of its own: what the caller has set for other work would change the fleet, or what is printed.
"""

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
from tempfile import TemporaryDirectory
from typing import Any, Final

from cli.inventory_import.inventory_errors import inventory_fault
from service.errors import CommandError

_ADDRESS: Final = "prestager_oam_address"
# `name` or `name address`; what Ansible would write has brackets, equal signs or colons at the end.
_PLAIN_LINE: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\s+([^\s=\[\]]+))?")
_BYTE_ORDER_MARK: Final = "\ufeff"
# Name of a host → its variables, those of its groups included.
Hosts = Mapping[str, Mapping[str, Any]]

# Suffix of an inventory → the plugin of Ansible that reads it; without one of these both are tried.
PLUGINS: Final = {".yml": "yaml", ".yaml": "yaml", ".json": "yaml", ".ini": "ini"}
# An inventory of thousands of hosts takes seconds.
_READ_S: Final = 300.0


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


def read_inventory(file: Path) -> Hosts:
    """Return the hosts of an inventory in its order.

    Raises:
        CommandError: Ansible cannot read the file.
    """
    program = Path(sys.executable).with_name("ansible-inventory")
    try:
        with _environment(file) as environment:
            done = subprocess.run(  # noqa: S603 - our own program; the file is an argument of its own
                [str(program), "-i", str(file.absolute()), "--list"],
                env=environment,
                cwd=_working_directory(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_READ_S,
                check=False,
            )
    except OSError as error:
        if not program.exists():
            raise CommandError(f"{program} is missing; install Prestager's dependencies again.") from error
        raise CommandError(f"Ansible cannot be started to read {file}: {error.strerror}.") from error
    except subprocess.TimeoutExpired:
        # Without its cause, which holds what Ansible has printed so far.
        raise CommandError(f"Ansible could not read {file} within {_READ_S:g} s; split it.") from None
    if done.returncode:
        raise CommandError(f"Ansible cannot read {file}.", [inventory_fault(file, done.stderr)])
    return _hosts(file, done.stdout)


def _working_directory() -> Path:
    """Return the caller's directory, whose `group_vars` Ansible reads too; another one when it was removed."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.sep)


@contextmanager
def _environment(file: Path) -> Iterator[dict[str, str]]:
    """Give an environment in which an inventory is only read: never run as a program, or decrypted.

    Nothing of the caller's is in it: no variable, home directory or configuration file. The vault password opens
    nothing: what Ansible decrypts would be kept in the clear.
    """
    with TemporaryDirectory(prefix="prestager-") as directory:
        configuration = Path(directory, "ansible.cfg")
        configuration.touch()
        password = Path(directory, "vault-password")
        password.write_text(secrets.token_urlsafe(), encoding="utf-8")
        yield {
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "HOME": directory,
            "TMPDIR": directory,
            "ANSIBLE_CONFIG": str(configuration),
            # Plugins of the caller may add variables.
            "ANSIBLE_HOME": directory,
            "ANSIBLE_INVENTORY_ENABLED": PLUGINS.get(file.suffix, "yaml,ini"),
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
            "ANSIBLE_VAULT_PASSWORD_FILE": str(password),
            "ANSIBLE_VAULT_IDENTITY_LIST": f"prestager@{password}",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
        }


def _hosts(file: Path, listing: str) -> Hosts:
    """Return the hosts of what Ansible printed; one without variables is in no `_meta`."""
    try:
        groups = json.loads(listing)
        variables = groups.pop("_meta")["hostvars"]
        names = [name for group in groups.values() for name in group.get("hosts", ())]
        return {name: variables.get(name, {}) for name in names}
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        # Without its cause, which holds what was printed.
        raise CommandError(
            f"What Ansible reads in {file} cannot be understood: values may be nested too deeply, or numbers too long."
        ) from None
