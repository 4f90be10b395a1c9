"""Saying what is known of a release that is shown as staged on a subcloud."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from messages.requests.reading import Request, Saying

_NO_RELEASE: Final = "Specified release format is not supported. Version format must be MM.mm."


class StagedRequest(Request):
    """What is known now of a release on a subcloud, after a restored site for example."""

    release: Annotated[
        Annotated[str, Field(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}$")],
        Saying(_NO_RELEASE, missing="release required"),
    ] = Field(description="The release, as MM.mm.")
    verdict: Annotated[
        Literal["unknown"],
        Saying("Invalid verdict: {value}; give unknown", missing="verdict required: give unknown"),
    ] = Field(description="`unknown`: whether the release is staged has to be found out by the next prestage.")
