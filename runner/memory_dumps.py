"""Keeps the memory of this process, which holds secrets, out of core files and from other processes of its user."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid_memory_dumps() -> None:
    """Forbid core files for this process and all that it starts, and make itself not dumpable.

    A process that is not dumpable cannot be traced, nor its memory or environment be read, but by root; that ends when
    it executes another program, which then has the limit alone. A kernel that pipes core files to a program passes
    over the limit (core(5)); systemd-coredump, for one, keeps to it by itself. Repeating it does nothing.

    Raises:
        OSError: The kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "PR_SET_DUMPABLE")
