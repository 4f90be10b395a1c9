"""Checks that what will be written fits, before anything is written."""

import os

from .errors import PrestageError

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
STEP = 1024.0
# What an operator can do on a site beside freeing space.
OR_LOWER = ", or lower prestage_min_free_bytes"


def require_space(directory: str, needed: int, keep_free: int, what: str, advice: str = "") -> None:
    """
    Refuse to start when `needed` bytes would leave less than `keep_free` bytes in the file system of `directory`.

    Args:
        directory: Where it will be written.

        needed: Bytes to write.

        keep_free: Bytes that stay free.

        what: What is written, for the message.

        advice: Another way than freeing space, for the message.

    Raises:
        PrestageError: It does not fit.
    """
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if needed and free - needed < keep_free:
        raise PrestageError(
            f"Not enough space for {what} in {directory}: {readable(needed)} needed and {readable(keep_free)} to be "
            f"kept free, but {readable(free)} available. Free some space{advice}.",
            "space",
        )


def nearest_directory(path: str) -> str:
    """Return the directory itself, or the nearest one above it that exists: it is made in the same file system."""
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def readable(size: int) -> str:
    """Write a number of bytes for people."""
    amount = float(size)
    for unit in UNITS:
        if amount < STEP or unit == UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == UNITS[0] else f"{amount:.1f} {unit}"
        amount /= STEP
    raise AssertionError(size)
