"""Errors that keep a process or a command from going on."""

from __future__ import annotations

import os
from collections.abc import Sequence

from statemachine.errors import PrestagerError


class StartError(PrestagerError):
    """The service cannot start; the message says what is wrong and what to do."""


class CommandError(PrestagerError):
    """The command cannot do what was asked; the message is one sentence that says why and what to do.

    Attributes:
        faults: Everything that is wrong, one line each; empty where the sentence says it all.
    """

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


def system_reason(error: OSError) -> str:
    """Return what the operating system says of an error, without what a library has added to it."""
    # Those of name services are below zero, and no numbers of the system.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror)
