"""
Opens, writes and removes files where somebody else may have put something into their place.

A symbolic link could lead out of the directory, a pipe or device never ends, and a file that is written in place may
be a link to another one.
"""

import os
import stat
from typing import IO, Iterable

from .errors import PrestageError

# No list, manifest or marker is larger.
LARGEST_TEXT_BYTES = 64 * 1024 * 1024


def open_regular(path: str) -> IO[bytes]:
    """
    Open a regular file for reading, through links; close it afterwards.

    Raises:
        PrestageError: It is a directory, a pipe, a socket or a device.

        FileNotFoundError: It does not exist.
    """
    # Without O_NONBLOCK the open of a pipe waits for somebody who writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PrestageError(f"{path} is not a regular file. Remove it, then prestage again.")
    return os.fdopen(descriptor, "rb")


def read_text(path: str, limit_bytes: int = LARGEST_TEXT_BYTES) -> str:
    """
    Return the text of a regular file.

    Raises:
        PrestageError: It is no regular file, or larger than `limit_bytes`.

        ValueError: It is not UTF-8.

        FileNotFoundError: It does not exist.
    """
    with open_regular(path) as source:
        content = source.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise PrestageError(f"{path} has more than {limit_bytes} bytes. It must be made again.")
    return content.decode("utf-8")


def create(path: str) -> IO[bytes]:
    """Make a new file for writing, in place of whatever has this name; a link is removed and not followed."""
    if os.path.lexists(path):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")


def require_inside(directory: str, path: str) -> str:
    """
    Return `directory`/`path` if it stays in the directory, whatever links are on the way.

    Raises:
        PrestageError: A link leads out of the directory.
    """
    full, top = os.path.join(directory, path), os.path.realpath(directory)
    if os.path.commonpath([top, os.path.realpath(full)]) != top:
        raise PrestageError(f"{path} in {directory} is a link that leads out of it. Remove it; nothing was read.")
    return full


def require_no_links(directory: str, paths: Iterable[str]) -> None:
    """
    Check that nothing written at the relative `paths` can land outside of `directory`.

    Raises:
        PrestageError: A directory on the way is a symbolic link.
    """
    parents = {parent for path in paths for parent in _parents(path)}
    for parent in sorted(parents):
        require_no_link(os.path.join(directory, parent))


def require_no_link(path: str) -> None:
    """Check that `path`, which need not exist, is no symbolic link."""
    if os.path.islink(path):
        raise PrestageError(f"{path} is a symbolic link. Remove it, then prestage again; nothing was written.")


def is_regular(path: str) -> bool:
    """Tell whether a regular file, and no link to one, has this name."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _parents(path: str) -> Iterable[str]:
    parent = os.path.dirname(path)
    while parent:
        yield parent
        parent = os.path.dirname(parent)
