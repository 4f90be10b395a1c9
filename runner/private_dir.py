"""The private directory of a run: its place, its files, and its removal."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.errors import NoRunRootError

_log = logging.getLogger(__name__)

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108

# A directory of ours with less free space than this is not used, in bytes; a run needs about 200 KiB.
_MIN_FREE_BYTES = 16 * 1024 * 1024

# Sockets are made below a private directory, and the kernel takes paths of at most 107 bytes for them. The longest is
# that of ansible-core 2.21: /<worker>-<child>/tmp/pymp-12345678/listener-12345678. ssh's needs 4 less.
_LONGEST_RUN_ROOT = 107 - len("/12345678-123456789012/tmp/pymp-12345678/listener-12345678")
_TOO_LONG = f"more than {_LONGEST_RUN_ROOT} bytes, too long for sockets"

_MOUNTS = Path("/proc/self/mountinfo")


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
    def known_hosts_file(self) -> Path:
        """The site's SSH host keys."""
        return self.path / "known_hosts"

    @property
    def extra_vars_file(self) -> Path:
        """Extra variables, where ansible-runner looks for them."""
        return self.path / "env" / "extravars"

    @property
    def failures_file(self) -> Path:
        """Failures that are the reason of the run's failure, written by our callback; may hold secrets."""
        return self.path / "failures.json"

    @property
    def critical_section_file(self) -> Path:
        """File that a playbook makes for the time in which it must not be cancelled."""
        return self.path / "critical-section"

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


def child_id() -> str:
    """Return a new id of a child, 12 characters."""
    return uuid.uuid4().hex[:12]


def private_dir(run_root: Path, worker: str, child_id: str) -> PrivateDir:
    """Return the place for one child of `worker`; short, because ssh puts sockets into it."""
    return PrivateDir(run_root / f"{_prefix(worker)}{child_id}")


def leftovers(run_root: Path, worker: str) -> list[PrivateDir]:
    """Return the directories that children of `worker` left in `run_root`, in this process's life or before."""
    return [PrivateDir(path) for path in run_root.glob(f"{_prefix(worker)}*") if path.is_dir()]


@dataclass(frozen=True, kw_only=True)
class RunRootChoice:
    """Directory for the files of runs, and the warning where it is not the best one."""

    path: Path
    in_memory: bool
    # One text for each better place that cannot be used, with the reason.
    passed_over: tuple[str, ...]

    @property
    def warning(self) -> str | None:
        """Warning for the operator; None if passwords stay in memory."""
        if self.in_memory:
            return None
        reasons = "".join(f" {text}." for text in self.passed_over)
        return (
            f"The files of runs, passwords among them, are on a disk: {self.path} is not in memory.{reasons} Mount a"
            f" tmpfs that this user can write at {_SHARED_MEMORY}."
        )


def choose_run_root() -> RunRootChoice:
    """Return where `default_run_root` puts the files of runs; makes nothing.

    Raises:
        NoRunRootError: No candidate will do, or another user has put something in the place of one.
    """
    name = f"prestager-{os.getuid()}"
    session = os.environ.get("XDG_RUNTIME_DIR")
    parents = [_SHARED_MEMORY, *([Path(session)] if session else []), Path(tempfile.gettempdir())]
    passed_over: list[str] = []
    for parent in parents:
        path = parent / name
        _refuse_foreign(path)
        reason = _unusable(path)
        if reason is None:
            return RunRootChoice(path=path, in_memory=_is_in_memory(parent), passed_over=tuple(passed_over))
        passed_over.append(f"{path} {reason}")
    raise NoRunRootError(f"no directory for private run files: {'; '.join(passed_over)}")


def default_run_root() -> Path:
    """Return a directory in memory if there is one, else on disk, which is warned of; it is ours, with mode 0700.

    Raises:
        NoRunRootError: No candidate will do, or another user has put something in the place of one.
    """
    choice = choose_run_root()
    if choice.warning is not None:
        _log.warning(choice.warning)
    try:
        return prepare_run_root(choice.path)
    except OSError as error:
        raise NoRunRootError(f"{choice.path} cannot be used for private run files: {error}") from error


def prepare_run_root(path: Path) -> Path:
    """Create `path` if need be and check that no other user can look into it or has put it there.

    Raises:
        OSError: It is not a directory of ours, cannot be written, its file system is almost full, or its path is too
            long for the sockets below it.
    """
    if len(os.fsencode(path)) > _LONGEST_RUN_ROOT:
        raise OSError(errno.ENAMETOOLONG, _TOO_LONG, str(path))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (fault := _foreign(path)) is not None:
        raise PermissionError(f"{path} {fault}")
    path.chmod(0o700)
    if (reason := _unusable(path)) is not None:
        raise PermissionError(f"{path} {reason}")
    return path


def _refuse_foreign(path: Path) -> None:
    # Not passed over: another user could decide by it that passwords are written to a disk.
    fault = _foreign(path)
    if fault is None and path.exists() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault = "could be written by other users"
    if fault is not None:
        raise NoRunRootError(f"{path} {fault}; find out who made it and remove it")


def _foreign(path: Path) -> str | None:
    """Return why the file at `path` is not ours; None if it is, or if there is none."""
    try:
        facts = path.lstat()
    except OSError:
        return None
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid():
        return None
    return f"is not a directory of user {os.getuid()}"


def _unusable(path: Path) -> str | None:
    """Return why `path` cannot be used, or made; None if it can."""
    if len(os.fsencode(path)) > _LONGEST_RUN_ROOT:
        return f"has {_TOO_LONG}"
    place = path if path.is_dir() else path.parent
    if not place.is_dir():
        return f"cannot be made: {place} is no directory"
    if not os.access(place, os.W_OK | os.X_OK):
        return "cannot be written"
    room = os.statvfs(place)
    return "is almost full" if room.f_bavail * room.f_frsize < _MIN_FREE_BYTES else None


def _is_in_memory(place: Path) -> bool:
    device = place.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1] in {"tmpfs", "ramfs"}
    return False


def _prefix(worker: str) -> str:
    return hashlib.sha256(worker.encode()).hexdigest()[:8] + "-"
