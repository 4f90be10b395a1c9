"""The private directory of a run: where it may be, what is in it, and how it goes away again."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108

# A directory of ours with less free space than this is not used, in bytes; a run needs about 200 KiB.
_MIN_FREE_BYTES = 16 * 1024 * 1024

# Sockets are made below a private directory, and the kernel takes paths of at most 107 bytes for them. The longest is
# that of ansible-core 2.21: /<worker>-<child>/tmp/pymp-12345678/listener-12345678. ssh's needs 4 less.
_LONGEST_RUN_ROOT = 107 - len("/12345678-123456789012/tmp/pymp-12345678/listener-12345678")


class NoRunRootError(Exception):
    """No directory for private run files: each candidate belongs to somebody else, is not writable, or is full."""


@dataclass(frozen=True)
class PrivateDir:
    """The places inside one run's directory."""

    path: Path

    @property
    def tmp(self) -> Path:
        """Temporary files of the run and of Ansible."""
        return self.path / "tmp"

    @property
    def control(self) -> Path:
        """Sockets of ssh's shared connections."""
        return self.path / "cp"

    @property
    def hosts_file(self) -> Path:
        """Inventory with the host's variables."""
        return self.path / "hosts.yml"

    @property
    def secrets_file(self) -> Path:
        """Inventory with the host's secrets; exists only until the playbook starts."""
        return self.path / "secrets.yml"

    @property
    def extra_vars_file(self) -> Path:
        """Extra variables, where ansible-runner looks for them."""
        return self.path / "env" / "extravars"

    @property
    def failures_file(self) -> Path:
        """Failures that are the reason of the run's failure, written by our callback; may hold secrets."""
        return self.path / "failures.json"

    @property
    def noexec(self) -> bool:
        """Tell whether programs cannot be run from here (the default of /dev/shm in containers)."""
        return bool(os.statvfs(self.path).f_flag & os.ST_NOEXEC)

    def create(self) -> None:
        """Make the directory and its parts, mode 0700."""
        self.path.mkdir(mode=0o700)
        self.tmp.mkdir(mode=0o700)
        self.control.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove everything; removing twice is fine. What cannot be removed is logged and left to the next sweep."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():
            _log.warning("could not remove the private directory %s", self.path)


def private_dir(run_root: Path, worker: str, child_id: str) -> PrivateDir:
    """Return the place for one child of `worker`; short, because ssh puts sockets into it."""
    return PrivateDir(run_root / f"{_prefix(worker)}{child_id}")


def leftovers(run_root: Path, worker: str) -> list[PrivateDir]:
    """Return what children of `worker` left in `run_root`, in this process's life or before."""
    return [PrivateDir(path) for path in run_root.glob(f"{_prefix(worker)}*") if path.is_dir()]


def default_run_root() -> Path:
    """Return a directory in memory if there is one, else on disk; it is created, owned by us, mode 0700.

    Raises:
        NoRunRootError: No candidate will do.
    """
    name = f"prestager-{os.getuid()}"
    session = os.environ.get("XDG_RUNTIME_DIR")
    parents = [_SHARED_MEMORY, *([Path(session)] if session else []), Path(tempfile.gettempdir())]
    for parent in parents:
        try:
            return prepare_run_root(parent / name)
        except OSError as error:
            _log.info("not using %s for runs: %s", parent / name, error)
    raise NoRunRootError(f"no directory for private run files among {', '.join(map(str, parents))}")


def prepare_run_root(path: Path) -> Path:
    """Create `path` if need be and check that nobody else can look into it or has put it there.

    Raises:
        OSError: It is not a directory of ours, cannot be written, its file system is almost full, or its path is too
            long for the sockets below it.
    """
    if len(os.fsencode(path)) > _LONGEST_RUN_ROOT:
        raise OSError(errno.ENAMETOOLONG, f"more than {_LONGEST_RUN_ROOT} bytes, too long for sockets", str(path))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise PermissionError(f"{path} is not a directory of user {os.getuid()}")
    path.chmod(0o700)
    room = os.statvfs(path)
    if not os.access(path, os.W_OK) or room.f_bavail * room.f_frsize < _MIN_FREE_BYTES:
        raise PermissionError(f"{path} cannot be written or is almost full")
    return path


def _prefix(worker: str) -> str:
    return hashlib.sha256(worker.encode()).hexdigest()[:8] + "-"
