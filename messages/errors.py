"""Errors of what crosses the border of a process, and the explanation of errors of other programs."""

from __future__ import annotations

from dataclasses import dataclass

from statemachine.errors import PrestagerError


class TransportUnavailableError(PrestagerError):
    """The command was not handed over; nothing was changed."""


class NoAnswerInTimeError(PrestagerError):
    """The command was handed over and no answer came in time; it may still be carried out."""


class RequestError(PrestagerError):
    """A request is wrong; the message names the first error in the order of the contract, for its sender."""


class ConnectionVariableError(PrestagerError, ValueError):
    """A caller may not set a variable, or not to this value.

    Attributes:
        variable: Its name as it was given, of any length.

        reason: The sentence that follows the name; it repeats no value.
    """

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable} {reason}")
        self.variable = variable
        self.reason = reason


class HostKeyError(PrestagerError, ValueError):
    """A text holds no host key that can be used; the message says why."""


class TomlError(PrestagerError, ValueError):
    """A text is not TOML; the message says where and what to write, and repeats nothing of it."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Reason why the database or the broker cannot be used, and the remedy.

    Attributes:
        reason: The end of a sentence that begins with its name, such as `refuses the user or its password`.

        remedy: A whole sentence.
    """

    reason: str
    remedy: str

    def sentence(self, subject: str) -> str:
        """Return both as one text about `subject`, such as `The database`."""
        return f"{subject} {self.reason}. {self.remedy}"
