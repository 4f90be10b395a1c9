"""Read an inventory with Ansible itself, which knows its groups, ranges and precedence best.

Ansible runs in an environment and with a configuration of our own: what the caller has set for his own work would
change the fleet, or what is printed.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cli.inventory_import.errors import inventory_fault
from service.errors import CommandError

# Name of a host → its variables, those of its groups included.
Hosts = Mapping[str, Mapping[str, Any]]

# Suffix of an inventory → the plugin of Ansible that reads it; without one of these both are tried.
PLUGINS: Final = {".yml": "yaml", ".yaml": "yaml", ".json": "yaml", ".ini": "ini"}
# An inventory of thousands of hosts takes seconds.
_READ_S: Final = 300.0


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
