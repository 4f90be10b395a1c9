"""The directory of a demonstration, and its sites: behind SSH servers with a password, or as directories."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Final

from client.contexts import ServerContext, ServerOptions, choose_context, put_context
from client.errors import SurroundingsError
from demo.sites_content import OTHER_PASSWORD_NAMES
from service.database import only_instance
from service.errors import CommandError, StartError
from simulator.host_keys import kept_host_key, remove_all_but_host_keys
from simulator.simulation import FIRST_ADDRESS
from simulator.site_tree import LOGIN, SiteTree, write_programs
from simulator.ssh_serving import serving_ssh
from simulator.ssh_site import SshSite

_CONTEXT: Final = "demo"
_MARK: Final = ".prestager-demo"
_OUR_PREFIX: Final = "PRESTAGER_"
# The first release of OpenSSH that asks a program for a password without a display, as Ansible needs it.
_OLDEST: Final = (8, 4)
_VERSION: Final = re.compile(r"OpenSSH_(\d+)\.(\d+)")


@dataclass(frozen=True)
class Workplace:
    """Paths of the demonstration; `prepare` makes the directory."""

    root: Path

    @property
    def service_log(self) -> Path:
        """Path of the service's log, JSON lines."""
        return self.root / "service.log"

    @property
    def token_file(self) -> Path:
        """Holds the access token."""
        return self.root / "token"

    @property
    def password_file(self) -> Path:
        """Holds the password of the sites while they are served."""
        return self.root / "password"

    @property
    def settings_file(self) -> Path:
        """Sets the variables of the service, for a shell."""
        return self.root / "settings.sh"

    def prepare(self) -> None:
        """Make the directory empty, but for the SSH host keys of the sites.

        Raises:
            CommandError: It holds something that no demonstration made, or a service works in it.
        """
        mark = self.root / _MARK
        if self.root.exists() and not mark.exists() and any(self.root.iterdir()):
            raise CommandError(f"{self.root} holds other files; give a directory that is empty or missing with --dir.")
        self._require_no_service()
        remove_all_but_host_keys(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def _require_no_service(self) -> None:
        if not self._data_dir.exists():
            return
        try:
            with only_instance(self._data_dir):
                return
        except StartError as error:
            raise CommandError(
                f"A service works in {self._data_dir}, from a demonstration that still goes on or from prestager up. "
                "Stop it, or give another directory with --dir."
            ) from error

    @property
    def _data_dir(self) -> Path:
        return self.root / "data"

    def settings(self, *, release: str, feed_dir: Path, deploy_dir: Path) -> dict[str, str]:
        """Return the variables of a service that works here and disturbs no other of this machine."""
        identity = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        return {
            "PRESTAGER_DATA_DIR": str(self._data_dir),
            "PRESTAGER_RELEASE": release,
            "PRESTAGER_FEED_DIR": str(feed_dir),
            "PRESTAGER_DEPLOY_DIR": str(deploy_dir),
            "PRESTAGER_WORKER_NAME": f"demo-{identity}",
        }

    def write_settings(self, settings: dict[str, str]) -> None:
        """Write the variables down for a shell."""
        lines = [f"export {name}={quote(value)}\n" for name, value in settings.items()]
        self.settings_file.write_text("".join(lines), encoding="utf-8")

    def keep_token(self, token: str) -> None:
        """Write the token down for the commands that the demonstration proposes."""
        descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{token}\n")

    def save_context(self, url: str) -> str:
        """Save a context with the kept token, and return the options with which commands over HTTP reach this API.

        None are needed where no other context and no variable comes first; where the context cannot be saved, they name
        the API and the token.
        """
        wanted = ServerContext(url=url, token=self.token_file.read_text(encoding="utf-8").strip(), ca_file=None)
        with suppress(SurroundingsError):
            put_context(_CONTEXT, url, self.token_file, os.environ)
        for chosen, options in ((ServerOptions(), ""), (ServerOptions(context=_CONTEXT), f" --context {_CONTEXT}")):
            with suppress(SurroundingsError):
                if choose_context(chosen, os.environ) == wanted:
                    return options
        return f" --server {url} --token-file {self.token_file}"


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings and no others."""
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(_OUR_PREFIX)}
    return {**others, **settings}


@dataclass(frozen=True, kw_only=True)
class Sites:
    """The sites of a demonstration, while they can be reached."""

    # For an operator who watches.
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
    password_file = Workplace(root).password_file
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
