"""Runs programs as a user without rights, for tests of what the service's user can do; tests themselves run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from pathlib import Path

import pytest

USER = "nobody"
# The Python of the tests may be in a directory that only root may enter. Nothing can be written with it, nor the memory
# of a process be read.
_MAY_ENTER = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def uid() -> int:
    """Return the user's number."""
    return pwd.getpwnam(USER).pw_uid


def gid() -> int:
    """Return the number of its group."""
    return pwd.getpwnam(USER).pw_gid


def as_user(*command: str | Path, options: tuple[str, ...] = ()) -> list[str]:
    """Return a command that runs another one as the user.

    Anybody but root runs it as himself, which is just as good where one user is enough.
    """
    if os.getuid():
        return list(map(str, command))
    return ["setpriv", f"--reuid={uid()}", f"--regid={gid()}", "--clear-groups", *options, *map(str, command)]


def python_as_user(*arguments: str | Path) -> list[str]:
    """Return a command that runs the Python of the tests as the user."""
    return as_user(sys.executable, *arguments, options=_MAY_ENTER)


def needs_two_users() -> None:
    """Skip a test that needs root beside the user."""
    if os.getuid() or shutil.which("setpriv") is None:
        pytest.skip("only root can be root and another user")


def give(path: Path) -> Path:
    """Make a file or directory the user's."""
    if not os.getuid():
        os.chown(path, uid(), gid())
    return path


def let_others_enter(directory: Path) -> None:
    """Let the user reach a directory of a test: the directory and the two above it.

    Rights are added only. Of a run with `--basetemp` one of those above is that of all programs, such as /tmp, whose
    rights to write must stay.
    """
    for path in (directory, *directory.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
