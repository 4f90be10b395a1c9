"""A retry of a strategy, as a request over HTTP and AMQP alike."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, get_args

from pydantic import Field, StrictBool

from messages.limits import PROBLEM_FORM
from messages.requests.base import ErrorMessage
from messages.requests.strategy import PasswordRequest, ReleaseRequest, StrategyRequest

_STATES = Literal["failed", "aborted", "cancelled", "not-started", "skipped", "excluded"]
RETRIED_STATES: Final = tuple(str(one) for one in get_args(_STATES))
DEFAULT_STATES: Final = ("failed", "aborted", "cancelled", "not-started")


class StrategyRetry(ReleaseRequest, StrategyRequest):
    """A new strategy for sites of an earlier one; what is not given is as it was there, but for `rollout.stages`."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    type: Annotated[Literal["prestage"], ErrorMessage("type invalid")] = Field(
        "prestage", description="The strategy's type."
    )
    states: Annotated[
        Annotated[list[_STATES], Field(min_length=1, max_length=len(RETRIED_STATES))],
        ErrorMessage(f"{{key}} must be a list of {', '.join(RETRIED_STATES)}"),
    ] = Field(
        list(DEFAULT_STATES),
        description="How the sites ended that are retried; `not-started`: the strategy ended before they began,"
        " `excluded`: it left them out.",
    )
    problem: Annotated[
        Annotated[str, Field(pattern=PROBLEM_FORM)] | None,
        ErrorMessage("{key} must be the id of a problem, or its first 4 signs or more, got {value}"),
    ] = Field(
        None,
        description="Only sites with this problem: an id of the strategy's list of problems, or a beginning that no"
        " other has.",
    )
    resume_from: Annotated[
        Literal["failed-phase", "start"], ErrorMessage("{key} must be failed-phase or start, got {value}")
    ] = Field(
        "failed-phase",
        alias="from",
        description="`failed-phase`: a site passes the packages where an earlier run has proved them; `start`: no site"
        " does.",
    )
    apply: Annotated[StrictBool, ErrorMessage("{key} must be true or false, got {value}")] = Field(
        False, description="Start it at once."
    )


# Fields of a retry that are none of a new strategy.
OWN_FIELDS: Final = frozenset({"states", "problem", "from", "apply"})


class StrategyRetryBody(PasswordRequest, StrategyRetry):
    """A retry of a strategy, as it is sent."""
