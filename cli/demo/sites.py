"""Serve the sites of a demonstration: by SSH with a password, or, if that is asked for, as directories."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from demo.sites_content import OTHER_PASSWORD_NAMES
from service.errors import CommandError
from simulator.host_keys import kept_host_key
from simulator.simulation import FIRST_ADDRESS
from simulator.site_tree import LOGIN, SiteTree, write_programs
from simulator.ssh_serving import serving_ssh
from simulator.ssh_site import SshSite

# The first release of OpenSSH that asks a program for a password without a display, as Ansible needs it.
_OLDEST: Final = (8, 4)
_VERSION: Final = re.compile(r"OpenSSH_(\d+)\.(\d+)")


@dataclass(frozen=True, kw_only=True)
class Sites:
    """The sites of a demonstration, while they can be reached."""

    # For whoever watches.
    description: str
    # Connection variables of each site; None: they are directories.
    reach: Mapping[str, Mapping[str, Any]] | None
    password: str = field(repr=False)


def require_ssh() -> None:
    """Check that Ansible can log in by SSH with a password.

    Raises:
        CommandError: It cannot.
    """
    if not _has_fitting_ssh():
        raise CommandError(
            f"The demonstration's sites are behind SSH with a password, and this machine has no ssh of OpenSSH"
            f" {_OLDEST[0]}.{_OLDEST[1]} or later. Install it (Debian: apt-get install openssh-client) and try again,"
            " or take directories as sites, where no password is checked: prestager demo --without-ssh"
        )


@contextmanager
def directory_sites() -> Iterator[Sites]:
    """Give sites that are directories of this machine: nothing is served, and any password is right."""
    yield Sites(
        description="They are directories, as was asked for: no SSH is used and no password checked.",
        reach=None,
        password=secrets.token_urlsafe(16),
    )


@contextmanager
def ssh_sites(root: Path, names: Iterable[str]) -> Iterator[Sites]:
    """Serve these sites below `root` until the block ends; their files may be made meanwhile."""
    password = secrets.token_urlsafe(16)
    password_file = root / "password"
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"{password}\n")
    programs = root / "programs"
    write_programs(programs)
    servers = {
        name: SshSite(
            name=name,
            tree=SiteTree(root=root / "ssh" / name),
            host=str(FIRST_ADDRESS + number),
            port=0,
            password=secrets.token_urlsafe(16) if name in OTHER_PASSWORD_NAMES else password,
            password_file=password_file,
            programs=programs,
            faults={},
            host_key=kept_host_key(root, name),
        )
        for number, name in enumerate(names)
    }
    try:
        for server in servers.values():
            server.tree.home.mkdir(parents=True)
            (server.tree.root / "tmp").mkdir()
        with serving_ssh(list(servers.values()), root):
            reach = {name: _variables(server) for name, server in servers.items()}
            description = f"Each is behind an SSH server of its own, on {FIRST_ADDRESS} and the addresses after it."
            yield Sites(description=description, reach=reach, password=password)
    finally:
        password_file.unlink()


def _variables(server: SshSite) -> dict[str, Any]:
    return {
        "ansible_host": server.host,
        "ansible_port": server.port,
        "ansible_user": LOGIN,
        "ansible_remote_tmp": str(server.tree.home / ".ansible" / "tmp"),
    }


def _has_fitting_ssh() -> bool:
    try:
        done = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False)  # noqa: S607 - as Ansible finds it
    except OSError:
        return False
    found = _VERSION.search(done.stderr)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST
