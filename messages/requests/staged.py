"""Removal of a staged release from a subcloud, and what is known of one that is shown as staged."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from messages.requests.base import ErrorMessage, Request
from messages.requests.strategy import PasswordRequest

_NO_RELEASE: Final = "Specified release format is not supported. Version format must be MM.mm."


_Release = Annotated[
    Annotated[str, Field(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}$")],
    ErrorMessage(_NO_RELEASE, missing="release required"),
]


class UnstageRequest(Request):
    """A staged release to be removed from a subcloud, as the command holds it: the password travels apart."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    release: _Release = Field(description="The release to remove, as MM.mm.")


class UnstageBody(PasswordRequest, UnstageRequest):
    """A staged release to be removed from a subcloud, as it is sent."""


class StagedRequest(Request):
    """What is known now of a release on a subcloud, after a restored site for example."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    release: _Release = Field(description="The release, as MM.mm.")
    verdict: Annotated[
        Literal["unknown"],
        ErrorMessage("Invalid verdict: {value}; give unknown", missing="verdict required: give unknown"),
    ] = Field(description="`unknown`: whether the release is staged has to be found out by the next prestage.")
