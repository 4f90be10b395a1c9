"""Writes the inventory and the variables of one run into its private directory.

Texts are written with the `!unsafe` tag: Ansible takes them literally. Without it a password with `{{` in it breaks
the run, and a variable that a caller put into the API would be evaluated here, as our user. The exception are texts
that look like another type: `!unsafe "0123"` would become a number, whatever the quotes say. No template looks so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.interface import PlaybookJob
from runner.private_dir import PrivateDir
from runner.ssh_arguments import SSH_ARGS, checked_ssh_args

_PLAIN_TEXT = "tag:yaml.org,2002:str"


class _Dumper(yaml.SafeDumper):
    """Writes each text value as `!unsafe "..."` or, if it looks like another type, just in quotes; keys stay plain."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write repeated values out: an alias cannot carry a tag."""
        return True


class _Key(str):
    """A mapping key, which must not carry a tag."""

    __slots__ = ()


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    looks_like_text = dumper.resolve(yaml.ScalarNode, text, (True, False)) == _PLAIN_TEXT  # type: ignore[no-untyped-call]
    return dumper.represent_scalar("!unsafe" if looks_like_text else _PLAIN_TEXT, text, style='"')


def _represent_key(dumper: _Dumper, key: _Key) -> yaml.ScalarNode:
    return dumper.represent_scalar(_PLAIN_TEXT, str(key), style='"')


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Key, _represent_key)


def write_job(job: PlaybookJob, place: PrivateDir) -> list[str]:
    """Write inventory, secrets and extra variables, each file 0600.

    The secrets get an inventory file of their own, so that it can be unlinked as soon as Ansible has read it. As host
    variables (not extra variables) they are never applied to a task delegated to another host. Limit: after
    `meta: refresh_inventory` a playbook still has its host, but no secrets.

    Returns:
        The inventory sources, in order. The extra variables are where ansible-runner looks for them.
    """
    host_vars = {**_local_tmp(job, place), **job.host_vars, **_host_key_vars(job, place)}
    _write(place.hosts_file, _inventory(job.host, host_vars))
    if job.extra_vars:
        place.extra_vars_file.parent.mkdir(mode=0o700, exist_ok=True)
        _write(place.extra_vars_file, dict(job.extra_vars))
    if not job.secrets:
        return [str(place.hosts_file)]
    _write(place.secrets_file, _inventory(job.host, job.secrets))
    return [str(place.hosts_file), str(place.secrets_file)]


def _local_tmp(job: PlaybookJob, place: PrivateDir) -> dict[str, Any]:
    """Keep the module files of a site reached by the local connection out of HOME, where a killed run leaves them."""
    if job.host_vars.get("ansible_connection") != "local" or place.noexec:
        return {}
    return {"ansible_remote_tmp": str(place.tmp)}


def _host_key_vars(job: PlaybookJob, place: PrivateDir) -> dict[str, Any]:
    """Write the host's keys down and return the variable that has ssh check them; it wins over the host's own."""
    if job.known_host is None:
        return {}
    _write_text(place.known_hosts_file, job.known_host.known_hosts())
    return {SSH_ARGS: checked_ssh_args(job.known_host, place.known_hosts_file, job.host_vars)}


def _inventory(host: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    return {"all": {"hosts": {host: dict(variables)}}}


def _write(path: Path, value: dict[str, Any]) -> None:
    _write_text(path, yaml.dump(_keyed(value), Dumper=_Dumper, allow_unicode=True, width=2**31))


def _write_text(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _keyed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_Key(key): _keyed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_keyed(item) for item in value]
    return value
