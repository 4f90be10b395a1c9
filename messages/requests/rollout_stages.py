"""Stages of a rollout, such as a canary before all other sites, as a request gives them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StrictInt, ValidationInfo, field_serializer, field_validator

from messages.requests.base import AcceptedAs, ErrorMessage, Request, validation_error
from messages.requests.fields import NestedList
from messages.requests.targets import NO_SELECTOR, CloudRefs, read_selector
from statemachine.rollout_stages import REST
from statemachine.selector import SELECTOR_LENGTH

# Most steps of a strategy that a number in a request may speak of.
MOST_STEPS: Final = 100_000
# Most subclouds at once; the same as a stage may have.
MOST_AT_ONCE: Final = 500
# Longest soak time, in seconds: a week.
MOST_SOAK_S: Final = 7 * 24 * 3600
# Most stages of a rollout.
MOST_STAGES: Final = 20
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]

_PERCENT: Final = r"^(100|[1-9]?[0-9])%$"
# A failure budget: a number, or a percentage of the sites as created.
MaxFailures = Annotated[
    Annotated[StrictInt, Field(ge=0, le=MOST_STEPS)] | Annotated[str, Field(pattern=_PERCENT)] | None,
    ErrorMessage('{key} must be a whole number of at least 0, or a percentage such as "10%", got {value}'),
]
_NAME_TEXT: Final = "{key} must be small letters, digits and dashes, at most 32 and a letter first, got {value}"
_CHOICES: Final = ("clouds", "selector", "count", "percent")


def _between(most: int) -> ErrorMessage:
    return ErrorMessage(f"{{key}} must be a whole number from 1 to {most}, got {{value}}")


def _readable(text: str | None) -> str | None:
    """Return the text of a selector that can be read."""
    read_selector(text)
    return text


class RolloutStage(Request):
    """A stage: sites that are taken from those that no earlier stage has, by one of four ways to choose them."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    name: Annotated[
        StageName,
        ErrorMessage(_NAME_TEXT, missing="{key} required"),
    ] = Field(description=f"Name of the stage, another one for each; not `{REST}`.", examples=["canary"])
    max_parallel: Annotated[Annotated[StrictInt, Field(ge=1, le=MOST_AT_ONCE)] | None, _between(MOST_AT_ONCE)] = Field(
        None,
        alias="max-parallel",
        description="Most sites of the stage at once; without it the width of the strategy, or else the smallest one"
        " of the groups of its sites.",
    )
    max_failures: MaxFailures = Field(
        None,
        alias="max-failures",
        description="Failed sites of the stage that are borne, as a number, or as a percentage of its sites as created."
        " After one more `on-budget` holds the later stages, or stops the strategy.",
    )
    soak_s: Annotated[
        Annotated[StrictInt, Field(ge=1, le=MOST_SOAK_S)] | None,
        ErrorMessage(f"{{key}} must be a whole number of seconds from 1 to {MOST_SOAK_S}, got {{value}}"),
    ] = Field(
        None,
        alias="soak-s",
        description="Seconds after the end of the stage before the next one starts, by the clock of the database.",
    )
    gate: Annotated[Literal["approval"] | None, ErrorMessage("{key} must be approval, got {value}")] = Field(
        None,
        description="`approval`: the next stage starts only when somebody else than the creator has approved it.",
    )
    clouds: CloudRefs = Field(None, description="Names or ids of its sites.")
    selector: Annotated[
        str | None,
        AcceptedAs(Annotated[str, Field(max_length=SELECTOR_LENGTH)] | None, _readable),
        NO_SELECTOR,
    ] = Field(None, description="Matches the labels of its sites.")
    count: Annotated[Annotated[StrictInt, Field(ge=1, le=MOST_STEPS)] | None, _between(MOST_STEPS)] = Field(
        None, description="So many sites, in the order of groups and ids."
    )
    percent: Annotated[Annotated[StrictInt, Field(ge=1, le=100)] | None, _between(100)] = Field(
        None,
        validate_default=True,
        description="So many of 100 sites of the strategy, rounded up, in the order of groups and ids.",
    )

    @field_validator("name")
    @classmethod
    def _judge_name(cls, name: str) -> str:
        """Refuse the name of the last stage."""
        if name == REST:
            raise validation_error(f"{{key}} must not be {REST}: the sites that match no stage have that one")
        return name

    @field_validator("percent")
    @classmethod
    def _judge_choice(cls, percent: int | None, info: ValidationInfo) -> int | None:
        """Refuse a stage without a way to choose its sites, or with two."""
        given = [name for name in _CHOICES if (percent if name == "percent" else info.data.get(name)) is not None]
        # A wrong one is not among the data, and has its own error.
        if len(given) != 1 and all(name in info.data for name in _CHOICES[:-1]):
            raise validation_error(f"{', '.join(_CHOICES[:-1])} or {_CHOICES[-1]} is needed, and only one of them")
        return percent

    @field_serializer("clouds")
    def _list_clouds(self, clouds: tuple[str, ...] | None) -> list[str] | None:
        return None if clouds is None else list(clouds)


StageList = Annotated[
    Annotated[tuple[RolloutStage, ...], Field(min_length=1, max_length=MOST_STAGES)] | None,
    NestedList("stages", RolloutStage, MOST_STAGES),
]
