"""Errors of asking sites and the system controller, and whether to try again."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from statemachine.errors import PrestagerError


class ErrorKind(StrEnum):
    """Reasons why a request gave no usable answer."""

    # No connection: reset, no answer in time.
    UNREACHABLE = "unreachable"
    # Nothing listens there.
    REFUSED = "refused"
    # The network of this machine has no way there, or this machine is out of sockets: it says nothing of the site.
    OURS = "ours"
    # The other side's certificate does not verify.
    CERTIFICATE = "certificate"
    # Name or password were not accepted, or a new token was not.
    LOGIN = "login"
    # A token was not accepted; another one may be.
    TOKEN = "token"  # noqa: S105 - the name of a kind
    # The account may not do this.
    FORBIDDEN = "forbidden"
    # The release has no such path, or the system no such thing.
    MISSING = "missing"
    # 5xx, or a health query that the site could not make now.
    SERVER = "server"
    # The request came back to its sender.
    LOOP = "loop"
    # Any other status, or a body that is not what it should be.
    UNUSABLE = "unusable"


# Errors that a short pause may heal.
TRANSIENT: Final = frozenset({ErrorKind.UNREACHABLE, ErrorKind.REFUSED, ErrorKind.SERVER})
# Errors that say nothing about the site: our account, our trust, our network.
NOT_OF_THE_SITE: Final = frozenset(
    {ErrorKind.OURS, ErrorKind.CERTIFICATE, ErrorKind.LOGIN, ErrorKind.TOKEN, ErrorKind.FORBIDDEN}
)


class InspectionError(PrestagerError):
    """The facts of the site could not be read; the message says why, in a few words."""


class SiteRequestError(InspectionError):
    """A request gave no usable answer; the message is for the operator and holds no secret.

    Attributes:
        kind: Why; see `ErrorKind`.
    """

    def __init__(self, kind: ErrorKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class HostKeyScanError(PrestagerError):
    """The host key of a site could not be read; the message says why."""
