"""How the sites of a demonstration are reached: by SSH with a password, or as directories of this machine."""

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

from fleet.host_keys import kept_host_key
from fleet.simulation import FIRST_ADDRESS
from fleet.site_tree import LOGIN, SiteTree, write_programs
from fleet.ssh_serving import serving_ssh
from fleet.ssh_site import SshSite

# The first release of OpenSSH that asks a program for a password without a display, as Ansible needs it.
_OLDEST: Final = (8, 4)
_VERSION: Final = re.compile(r"OpenSSH_(\d+)\.(\d+)")
# The variables of a site that is behind SSH.
SSH_VARIABLES: Final = ("ansible_host", "ansible_port", "ansible_user", "ansible_remote_tmp")


@dataclass(frozen=True, kw_only=True)
class Sites:
    """The sites of a demonstration, while they can be reached."""

    # For whoever watches.
    description: str
    # Connection variables of each site; None: they are directories.
    reach: Mapping[str, Mapping[str, Any]] | None
    password: str = field(repr=False)


@contextmanager
def reachable_sites(root: Path, names: Iterable[str]) -> Iterator[Sites]:
    """Serve these sites below `root` until the block ends; their files may be made meanwhile."""
    password = secrets.token_urlsafe(16)
    if not _has_fitting_ssh():
        yield Sites(
            description="They are reached as directories: ssh is missing or old.", reach=None, password=password
        )
        return
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
            password=password,
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
