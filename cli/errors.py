"""How a command tells an operator that it cannot go on."""

from __future__ import annotations

from collections.abc import Sequence


class CommandError(Exception):
    """The command cannot do what was asked; the message is one sentence that says why and what to do.

    Attributes:
        faults: Everything that is wrong, one line each; empty where the sentence says it all.
    """

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)
