"""Why a process does not start."""

from __future__ import annotations


class StartError(Exception):
    """The service cannot start; the message says what is wrong and what to do."""
