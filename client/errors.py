"""Errors that end a command of the client, each with an exit code."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Final

from statemachine.errors import PrestagerError

_API_ADVICE: Final = "Does the service run there? Another address is given by --server or PRESTAGER_URL."


class ExitCode(IntEnum):
    """Exit codes of the client's commands."""

    DONE = 0
    # The API, or the operator at a prompt, said no.
    REFUSED = 1
    USAGE = 2
    # The strategy that was watched ended with failed sites.
    FAILURES = 3
    # The strategy that was watched was aborted.
    ABORTED = 4
    TIME_IS_UP = 5
    UNREACHABLE = 6


class ClientError(PrestagerError):
    """The command ends; the message is one sentence that says why and what to do.

    Attributes:
        exit_code: Exit code of the command.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.REFUSED


class RefusedError(ClientError):
    """The API refused the request, or the operator declined."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SurroundingsError(ClientError):
    """Options, environment or files do not say what the command needs."""

    exit_code = ExitCode.USAGE


class UntrustedError(SurroundingsError):
    """The certificate of a service is not signed by an authority that is trusted."""


class UnreachableError(ClientError):
    """The API, or Keystone, did not answer."""

    exit_code = ExitCode.UNREACHABLE


class NotConnectedError(UnreachableError):
    """No connection was made, so nothing was sent.

    Attributes:
        advice: What the operator may do, as sentences; by default for the API.
    """

    def __init__(self, message: str, advice: str = _API_ADVICE) -> None:
        super().__init__(message)
        self.advice = advice


class TimeIsUpError(ClientError):
    """The strategy that is watched has not ended in time."""

    exit_code = ExitCode.TIME_IS_UP
