"""First steps of a run's child process: private pipes, and custody of orphans."""

from __future__ import annotations

import ctypes
import os

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the new parent of every orphan below this process, instead of init.

    Ansible starts its workers in sessions of their own, and tasks may clear their environment; so that the tree stays
    complete whatever they do, kinship must not be lost. Best effort: the marker is the second way to find them.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def take_pipes() -> tuple[int, int]:
    """Move the pipes from the supervisor off standard input and output, where Ansible could find them.

    Returns:
        The descriptors for orders (read) and reports (write); neither is inherited by any process.
    """
    orders, reports = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return orders, reports
