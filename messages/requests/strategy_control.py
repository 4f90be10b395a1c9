"""Holding, changing and cancelling a strategy or one of its steps, as requests over HTTP and AMQP alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StrictBool, StrictInt, ValidationInfo, field_validator

from messages.requests.base import AcceptedAs, ErrorMessage, Request, validation_error
from messages.requests.rollout import RolloutChange, RolloutPatch
from messages.requests.rollout_stages import MOST_STEPS, StageName
from messages.requests.strategy import MAX_PARALLEL, ActionRequest, NewPassword, VerbRequest

# Longest reason of a hold, in characters.
REASON_LENGTH: Final = 200
# Between the request to end and the end by force, in seconds; a playbook in a critical section gets the most.
DEFAULT_GRACE_S: Final = 30
MOST_GRACE_S: Final = 600

_Reason = Annotated[
    str,
    AcceptedAs(Annotated[str, Field(max_length=REASON_LENGTH)] | None, lambda value: value or ""),
    ErrorMessage(f"{{key}} must be a text of at most {REASON_LENGTH} characters"),
]
_Grace = Annotated[
    Annotated[StrictInt, Field(ge=0, le=MOST_GRACE_S)],
    ErrorMessage(f"{{key}} must be a whole number of seconds from 0 to {MOST_GRACE_S}, got {{value}}"),
]
_STAGE: Final = "Of an approval or denial, and needed there: name of the stage after which the next one starts."
_NOTE: Final = "Of an approval or denial, shown to all who look at the strategy."
_GRACE: Final = "Seconds from the request to end (SIGTERM) to the end by force (SIGKILL)."


class _PauseOptions(Request):
    scope: Annotated[Literal["starts", "phases"], ErrorMessage("{key} must be starts or phases, got {value}")] = Field(
        "starts",
        description="Of a pause. `starts`: no further site starts. `phases`: no site begins its next phase either.",
    )
    reason: _Reason = Field("", description="Of a pause, shown to all who look at the strategy.")


class _ResumeOptions(Request):
    allow_failures: Annotated[
        Annotated[StrictInt, Field(ge=0, le=MOST_STEPS)] | None,
        ErrorMessage(f"{{key}} must be a whole number from 0 to {MOST_STEPS}, got {{value}}"),
    ] = Field(
        None,
        alias="allow-failures",
        description="Of a resume: failures that are borne beside those that there are now.",
    )


class _CancelOptions(Request):
    grace_s: _Grace = Field(DEFAULT_GRACE_S, alias="grace-s", description=f"Of a cancel. {_GRACE}")


class _DecisionOptions(Request):
    stage: Annotated[
        StageName,
        ErrorMessage("{key} must be the name of a stage, got {value}", missing="{key} required"),
    ] = Field(description=_STAGE)
    note: _Reason = Field("", description=_NOTE)


class PauseRequest(_PauseOptions, VerbRequest):
    """Hold the strategy."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


class ResumeRequest(_ResumeOptions, VerbRequest):
    """End the holds of the strategy that a person may end."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


class CancelRequest(_CancelOptions, VerbRequest):
    """Abort the strategy and stop its running sites too."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


class DecisionRequest(_DecisionOptions, VerbRequest):
    """Approve or deny what comes after a stage."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


class PauseBody(_PauseOptions):
    """Options of a pause, as they are sent beside the action."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


class ResumeBody(_ResumeOptions):
    """Options of a resume, as they are sent beside the action."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    sysadmin_password: NewPassword = Field(
        None, repr=False, description="Of a resume: a new password of the sites' account, UTF-8 in base64."
    )


class CancelBody(_CancelOptions):
    """Options of a cancel, as they are sent beside the action."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


class DecisionBody(_DecisionOptions):
    """Options of an approval or a denial, as they are sent beside the action."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


# Actions that refuse names which they do not know. Those of dcmanager's API ignore other keys, as there.
ACTION_BODIES: Final[Mapping[str, type[Request]]] = {
    "pause": PauseBody,
    "resume": ResumeBody,
    "cancel": CancelBody,
    "approve": DecisionBody,
    "deny": DecisionBody,
}


class ActionBody(_CancelOptions, _ResumeOptions, _PauseOptions, ActionRequest):
    """An action on the strategy with its options, as it is sent.

    `pause`, `resume`, `cancel`, `approve` and `deny` refuse the options of others; `apply` and `abort` ignore all, as
    dcmanager does.
    """

    stage: StageName | None = Field(None, description=_STAGE)
    note: _Reason = Field("", description=_NOTE)

    sysadmin_password: NewPassword = Field(
        None, repr=False, description="Of a resume: a new password of the sites' account, UTF-8 in base64."
    )


class StrategyUpdate(VerbRequest):
    """Changes of a strategy that is `initial` or `applying`; an option that is not given stays."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    max_parallel: Annotated[
        Annotated[StrictInt, Field(ge=1, le=MAX_PARALLEL)] | None,
        ErrorMessage(f"{{key}} must be a whole number from 1 to {MAX_PARALLEL}, got {{value}}"),
    ] = Field(
        None,
        alias="max-parallel-subclouds",
        description="Most sites at once over the whole strategy; with `mode: window` only.",
    )
    rollout: RolloutPatch = Field(None, validate_default=True, description="Options to change.")

    @field_validator("rollout")
    @classmethod
    def _judge_emptiness(cls, rollout: RolloutChange | None, info: ValidationInfo) -> RolloutChange | None:
        if info.data.get("max_parallel", 0) is None and (rollout is None or not rollout.given()):
            raise validation_error("nothing to change: give max-parallel-subclouds or options in rollout")
        return rollout


class StepHoldRequest(Request):
    """Hold one site, or end its hold."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    held: Annotated[StrictBool, ErrorMessage("{key} must be true or false, got {value}", missing="{key} required")] = (
        Field(description="Whether the site begins no further phase.")
    )
    reason: _Reason = Field("", description="Shown to all who look at the step.")


class StepUpdate(Request):
    """A change of one step that is not finished: hold it, end its hold, or put it first. One of them."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    held: Annotated[StrictBool | None, ErrorMessage("{key} must be true or false, got {value}")] = Field(
        None, description="Whether the site begins no further phase."
    )
    reason: _Reason = Field("", description="Of the hold, shown to all who look at the step.")
    first: Annotated[Literal[True] | None, ErrorMessage("{key} must be true, got {value}")] = Field(
        None, validate_default=True, description="Start this site before all that have not started."
    )

    @field_validator("first")
    @classmethod
    def _judge_change(cls, first: bool | None, info: ValidationInfo) -> bool | None:  # noqa: FBT001 - the value itself
        if (first is None) == (info.data.get("held") is None):
            raise validation_error("give one of held and first")
        return first


class StepCancelRequest(Request):
    """Stop the work on one site, of the strategy or by itself."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    grace_s: _Grace = Field(DEFAULT_GRACE_S, alias="grace-s", description=_GRACE)
