"""Arguments of the ssh client for one site: those of the operator's variables, and those that check its host key.

Of an option that is given twice ssh takes the first, so what checks the key goes before everything else.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runner.errors import SshArgumentsError

# For hosts without arguments of their own. One connection for all tasks; its master process ends with the run. A dead
# site is noticed after 60 s. What ssh learns of hosts is not kept.
DEFAULT_SSH_ARGS: Final = (
    "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
    " -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
)
# Variable that holds the first arguments of every ssh, scp and sftp that Ansible runs for a host.
SSH_ARGS: Final = "ansible_ssh_args"

# SSH without OpenSSH's client: they take any key, or know only those of the user's own files.
_OTHER_SSH: Final = frozenset({"paramiko", "paramiko_ssh", "libssh"})


@dataclass(frozen=True, kw_only=True)
class KnownHost:
    """The keys by which one site is known.

    Attributes:
        alias: Name under which ssh looks the keys up, whatever the site's address is.

        keys: Each as `<type> <base64>`.

        algorithms: Signatures to ask the server for, so that it presents one of these keys and not a newer one.
    """

    alias: str
    keys: Sequence[str]
    algorithms: Sequence[str]

    def known_hosts(self) -> str:
        """Return the content of a `known_hosts` file that has these keys and no others."""
        return "".join(f"{self.alias} {key}\n" for key in self.keys)


@dataclass(frozen=True, kw_only=True)
class SshTarget:
    """Address of a site's SSH server, and the operator's options for it."""

    host: str
    port: int | None
    user: str | None
    executable: str
    # Before the port and user, as Ansible orders them.
    arguments: Sequence[str]
    # After them.
    more_arguments: Sequence[str]


def uses_unchecked_ssh(variables: Mapping[str, Any]) -> bool:
    """Tell whether Ansible reaches a host by SSH in a way that does not check the recorded host key."""
    return _connection(variables) in _OTHER_SSH


def ssh_target(name: str, variables: Mapping[str, Any]) -> SshTarget:
    """Return how Ansible would reach a host called `name` with these variables.

    Raises:
        SshArgumentsError: A variable is not of its form.
    """
    port = _last(variables, "ansible_port", "ansible_ssh_port")
    user = _last(variables, "ansible_user", "ansible_ssh_user")
    return SshTarget(
        host=str(_last(variables, "ansible_host", "ansible_ssh_host") or name),
        port=None if port is None else _port(port),
        user=None if user is None else str(user),
        executable=str(_last(variables, "ansible_ssh_executable") or "ssh"),
        arguments=_split({SSH_ARGS: _ssh_args(variables)}, SSH_ARGS),
        more_arguments=[
            *_split(variables, "ansible_ssh_common_args", "ssh_common_args"),
            *_split(variables, "ansible_ssh_extra_args", "ssh_extra_args"),
        ],
    )


def checked_ssh_args(known_host: KnownHost, file: Path, variables: Mapping[str, Any]) -> str:
    """Return the value of `ansible_ssh_args` with which ssh talks to `known_host` and to no other server.

    `file` holds its keys. Arguments of the operator's own `ansible_ssh_args`, or ours, follow.
    """
    checking = host_key_options(file, known_host.alias, "yes", known_host.algorithms)
    return f"{shlex.join(checking)} {_ssh_args(variables)}"


def host_key_options(file: Path, alias: str, strict: str, algorithms: Sequence[str]) -> list[str]:
    """Return the options that have ssh look keys up in `file` alone; `strict` is its StrictHostKeyChecking."""
    place = str(file).replace("%", "%%")
    options = [
        f'UserKnownHostsFile="{place}"',
        "GlobalKnownHostsFile=/dev/null",
        f"HostKeyAlias={alias}",
        f"StrictHostKeyChecking={strict}",
        "CheckHostIP=no",
        "HashKnownHosts=no",
        "UpdateHostKeys=no",
        # Another source of trust than the file.
        "VerifyHostKeyDNS=no",
        # ssh would trust any key on a loopback address.
        "NoHostAuthenticationForLocalhost=no",
        *([f"HostKeyAlgorithms={','.join(algorithms)}"] if algorithms else []),
    ]
    return [word for option in options for word in ("-o", option)]


def _ssh_args(variables: Mapping[str, Any]) -> str:
    given = variables.get(SSH_ARGS)
    return DEFAULT_SSH_ARGS if given is None else str(given)


def _connection(variables: Mapping[str, Any]) -> str:
    # With or without the collection in front of it.
    return str(variables.get("ansible_connection") or "ssh").rpartition(".")[2]


def _last(variables: Mapping[str, Any], *names: str) -> Any:
    """Return the value of the last of some variables that is set, which is the one that counts for Ansible."""
    return next((variables[name] for name in reversed(names) if variables.get(name) is not None), None)


def _split(variables: Mapping[str, Any], *names: str) -> list[str]:
    value = _last(variables, *names)
    try:
        return [] if value is None else shlex.split(str(value))
    except ValueError:
        raise SshArgumentsError(f"{names[0]} has an unclosed quotation mark") from None


def _port(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        raise SshArgumentsError("ansible_port is no port")
    return int(text)
