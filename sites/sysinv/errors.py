"""Errors of asking a site, and whether to try again."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sites.inspector import InspectionError


class FaultKind(StrEnum):
    """Why a request gave no usable answer."""

    # No connection: reset, no answer in time.
    UNREACHABLE = "unreachable"
    # Nothing listens there.
    REFUSED = "refused"
    # The network of this machine has no way there, or this machine is out of sockets: nothing is said of the site.
    OURS = "ours"
    # The other side's certificate is not good for us.
    CERTIFICATE = "certificate"
    # Name or password were not taken, or a new token was not.
    LOGIN = "login"
    # A token was not taken; another one may be.
    TOKEN = "token"  # noqa: S105 - the name of a fault
    # The account may not do this.
    FORBIDDEN = "forbidden"
    # The release has no such path, or the system no such thing.
    MISSING = "missing"
    # 5xx, or a health query that the site could not make now.
    SERVER = "server"
    # The request came back to the one who sent it.
    LOOP = "loop"
    # Any other status, or a body that is not what it should be.
    UNUSABLE = "unusable"


# What a short pause may heal.
PASSING: Final = frozenset({FaultKind.UNREACHABLE, FaultKind.REFUSED, FaultKind.SERVER})
# What says nothing about the site: our account, our trust, our network.
NOT_THE_SITES: Final = frozenset(
    {FaultKind.OURS, FaultKind.CERTIFICATE, FaultKind.LOGIN, FaultKind.TOKEN, FaultKind.FORBIDDEN}
)


class SiteFaultError(InspectionError):
    """A request gave no usable answer; the message is for the operator and holds no secret.

    Attributes:
        kind: See `FaultKind`.
    """

    def __init__(self, kind: FaultKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
