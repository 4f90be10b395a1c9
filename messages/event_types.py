"""Event types: the table that the documents are made of, and the data of each type.

The code builds the data of an event as one of these types, so mypy holds it to the documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from messages.schemas import Count, Progress, Strategy
from messages.step_schemas import ProblemId, Step
from statemachine.host_keys import HostKeyOrigin
from statemachine.rollout import HoldKind, HoldScope
from statemachine.states import (
    STRATEGY_TYPES,
    Availability,
    FailureClass,
    ManagementState,
    PrestageStatus,
    RunOutcome,
    StepState,
    StrategyState,
    StrategyType,
)

# The type of the event that a restored database begins with.
RESTORED: Final = "database.restored"
HOLD_OPENED: Final = "strategy.hold.opened"
HOLD_ENDED: Final = "strategy.hold.ended"
STRATEGY_UPDATED: Final = "strategy.updated"
STRATEGY_PROGRESS: Final = "strategy.progress"
CANCEL_REQUESTED: Final = "strategy.cancel.requested"


class Event(TypedDict):
    """An event, as a CloudEvent 1.0."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(description="Grows in the order in which events were stored.")]
    source: Annotated[str, Field(description="The installation.", examples=["/prestager/prestager"])]
    type: str
    subject: str
    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    datacontenttype: Literal["application/json"]
    traceparent: NotRequired[
        Annotated[str, Field(description="Where it belongs in a trace (W3C); only where traces are on.")]
    ]
    data: Mapping[str, Any]


class EmptyData(TypedDict):
    """Nothing beside type and subject."""


class StrategyCreated(TypedDict):
    """A strategy was created."""

    steps: Annotated[int, Field(ge=0, description="How many steps it has.")]
    retry_of: NotRequired[Annotated[int, Field(description="Id of the strategy that it retries.")]]


_Failed = TypedDict(
    "_Failed",
    {
        "class": NotRequired[Annotated[FailureClass, Field(description="Of a failed step, the kind of trouble.")]],
        "problem": NotRequired[ProblemId],
    },
)


class StepEventData(_Failed):
    """A step came to a state."""

    strategy: Annotated[int | None, Field(description="Null for a step without a strategy.")]
    subcloud: str
    stage: Annotated[int, Field(ge=1)]
    details: NotRequired[Annotated[str, Field(description="Why it failed or was skipped.")]]
    proved_by: NotRequired[
        Annotated[int, Field(description="Of a phase that was passed: id of the earlier run that proves it.")]
    ]


class AbortedStep(TypedDict):
    """One of the steps that were aborted."""

    step: int
    subcloud: str
    details: NotRequired[Annotated[str, Field(description="In which phase it was cancelled, and by which caller.")]]


class StepsAborted(TypedDict):
    """Steps were aborted before they started, or cancelled."""

    steps: Annotated[list[AbortedStep], Field(min_length=1)]


class HoldOpened(TypedDict):
    """A hold of the strategy or of one of its sites began, or took a wider scope."""

    hold: Annotated[int, Field(description="Id of the hold.")]
    kind: HoldKind
    scope: Annotated[
        HoldScope, Field(description="`starts`: no site leaves `initial`; `phases`: no next phase begins either.")
    ]
    reason: str
    by: Annotated[str, Field(description="The caller; empty for the coordinator.")]
    stage: NotRequired[Annotated[int, Field(description="The stage after which the stages are held.")]]
    until: NotRequired[
        Annotated[
            str,
            Field(description="When it ends by itself.", json_schema_extra={"format": "date-time"}),
        ]
    ]
    subcloud: NotRequired[Annotated[str, Field(description="The only site that is held.")]]


class HoldEnded(HoldOpened):
    """A hold ended."""

    ended_by: Annotated[str, Field(description="The caller; empty for the coordinator, or the end of the strategy.")]


class StrategyUpdated(TypedDict):
    """Options of a strategy changed, or the order of its sites."""

    fields: Annotated[list[str], Field(description="Names of the options, and `first` for a site that was put first.")]
    subcloud: NotRequired[Annotated[str, Field(description="The site that was put first.")]]


class CancelRequested(TypedDict):
    """Work is to be stopped; what had not begun is aborted, what runs ends later."""

    by: Annotated[str, Field(description="The caller, or the time limit in the place of one.")]
    grace_s: NotRequired[Annotated[float, Field(description="Seconds from SIGTERM to SIGKILL; else the worker's.")]]
    subcloud: NotRequired[Annotated[str, Field(description="The only site that is cancelled.")]]


class RunResults(TypedDict):
    """Counts of the tasks of a playbook that ended so far, as Ansible counts; `ok` includes those that changed."""

    ok: Count
    changed: Count
    failed: Count
    unreachable: Count
    skipped: Count
    rescued: Count
    ignored: Count


class RunEventData(StepEventData):
    """Progress of a run; a preparation is shown as work of the step that it was opened for."""

    step: int
    phase: StepState
    attempt: Annotated[int, Field(ge=1)]
    play: NotRequired[str]
    task: NotRequired[Annotated[str, Field(description="The task that began last.")]]
    tasks: NotRequired[Annotated[int, Field(ge=0, description="How many tasks have begun.")]]
    results: NotRequired[RunResults]
    preparation: NotRequired[Annotated[int, Field(description="Id of the preparation, if it is one.")]]
    outcome: NotRequired[Annotated[RunOutcome, Field(description="Only of a run that has ended.")]]


class SubcloudUpdated(TypedDict):
    """A subcloud was changed."""

    fields: Annotated[list[str], Field(description="Names of the fields that were given.")]


class SubcloudAddressChanged(TypedDict):
    """A site is reached elsewhere than before, where its password goes from now on."""

    caller: Annotated[str, Field(description="Who asked for the change; empty for a caller without a name.")]
    before: Annotated[dict[str, str | None], Field(description="Each address or port that changed, as it was.")]
    after: Annotated[dict[str, str | None], Field(description="The same, as they are now; null where there is none.")]


_Fingerprints = Annotated[
    list[str],
    Field(
        description="Each as `SHA256:<digest> (<type>)`.",
        examples=[["SHA256:uNiVztksCsDhcc0u9e8BrqhG9fpkpTZBz2rSBGV0tGI (ssh-ed25519)"]],
    ),
]


class HostKeyRecorded(TypedDict):
    """SSH host keys of a subcloud were recorded."""

    keys: _Fingerprints
    reason: Annotated[
        HostKeyOrigin, Field(description="`first-contact`: the site presented it; `given`: by import or command line.")
    ]


class HostKeyChanged(TypedDict):
    """A subcloud presents another SSH host key than is recorded."""

    recorded: _Fingerprints
    presented: Annotated[str, Field(description="The new key, as `SHA256:<digest> (<type>)`.")]
    accepted: Annotated[
        bool,
        Field(
            description="True: the site runs another software version than before, and the key is recorded now."
            " False: its prestage failed and no password was sent."
        ),
    ]
    software_version: Annotated[str, Field(description="Of the subcloud.")]


class HostKeyForgotten(TypedDict):
    """An operator had the SSH host keys of a subcloud forgotten."""

    keys: _Fingerprints


class WebhookDisabled(TypedDict):
    """A webhook was disabled because its receiver takes nothing in."""

    webhook: str
    reason: str


class DatabaseRestored(TypedDict):
    """The database was restored from a backup; what happened after the backup is not in it."""

    newest_at: Annotated[
        str | None,
        Field(
            description="When the newest event, command or audit entry of the backup was written; null: it has none.",
            json_schema_extra={"format": "date-time"},
        ),
    ]


class WebhookPing(TypedDict):
    """A test on request; only webhooks get it."""

    webhook: str


class RunningRun(RunEventData):
    """A run that goes on."""

    run: int


SubcloudStatus = TypedDict(
    "SubcloudStatus",
    {
        "name": str,
        "management-state": ManagementState,
        "availability-status": Availability,
        "prestage-status": PrestageStatus | None,
    },
)


class SnapshotData(TypedDict):
    """The present state: the first message of a stream, and again when a listener cannot resume."""

    reason: Annotated[str, Field(description="Why it is sent.")]
    strategy: Strategy | None
    steps: list[Step]
    runs: list[RunningRun]
    subclouds: list[SubcloudStatus]


class Dropped(TypedDict):
    """The end of a stream."""

    reason: Annotated[str, Field(description="Why the stream ends.")]


@dataclass(frozen=True, kw_only=True)
class EventType:
    """One type of event."""

    # The type without the prefix, which is the routing key too.
    name: str
    # What its subject names.
    subject: Literal["strategy", "step", "run", "subcloud", "webhook", "installation"]
    # What it names where a step has no strategy.
    other_subject: Literal["step"] | None = None
    # The type of its data.
    data: Any
    summary: str


def event_name(subject: str, kind: str, state: str) -> str:
    """Return the type of the event that a strategy, step or run of a strategy type came to a state."""
    return f"{subject}.{kind}.{state.replace(' ', '-')}"


def _strategy_events(kind: StrategyType) -> Iterator[EventType]:
    # A strategy comes to `deleting` only in the answer to its deletion.
    for state in StrategyState:
        if state != StrategyState.DELETING:
            yield EventType(
                name=event_name("strategy", kind.name, state),
                subject="strategy",
                data=StrategyCreated if state == StrategyState.INITIAL else EmptyData,
                summary=f"A strategy is now: {state}.",
            )
    yield EventType(
        name=event_name("strategy", kind.name, "deleted"),
        subject="strategy",
        data=EmptyData,
        summary="A strategy is history now.",
    )


def _step_events(kind: StrategyType) -> Iterator[EventType]:
    for state in (StepState.INITIAL, *kind.states, StepState.COMPLETE, StepState.FAILED):
        yield EventType(
            name=event_name("step", kind.name, state),
            subject="step",
            data=StepEventData,
            summary=f"{kind.wording} is now: {state}.",
        )
    yield EventType(
        name=event_name("step", kind.name, StepState.ABORTED),
        subject="strategy" if kind.is_strategy else "step",
        data=StepsAborted,
        summary="Steps were aborted or cancelled: one event for all that an abort ended before they started. A step"
        " without a strategy is the subject itself.",
    )


def _run_events(kind: StrategyType) -> Iterator[EventType]:
    for state in kind.states:
        yield EventType(
            name=event_name("run", kind.name, state),
            subject="run",
            data=RunEventData,
            summary=f"A run of {state} is further.",
        )


EVENT_TYPES: Final[tuple[EventType, ...]] = (
    *(event for kind in STRATEGY_TYPES.values() if kind.is_strategy for event in _strategy_events(kind)),
    *(event for kind in STRATEGY_TYPES.values() for event in _step_events(kind)),
    *(event for kind in STRATEGY_TYPES.values() for event in _run_events(kind)),
    EventType(
        name=HOLD_OPENED,
        subject="strategy",
        data=HoldOpened,
        summary="A hold began, or took a wider scope.",
    ),
    EventType(name=HOLD_ENDED, subject="strategy", data=HoldEnded, summary="A hold ended."),
    EventType(
        name=STRATEGY_UPDATED,
        subject="strategy",
        data=StrategyUpdated,
        summary="Options of a strategy were changed, or a site was put first.",
    ),
    EventType(
        name=STRATEGY_PROGRESS,
        subject="strategy",
        data=Progress,
        summary="How far a strategy is and when it is likely to end: at most every 15 seconds, and only when a count or"
        " the reason for no end has changed.",
    ),
    EventType(
        name=CANCEL_REQUESTED,
        subject="strategy",
        other_subject="step",
        data=CancelRequested,
        summary="A cancel was asked for, or the grace of one was changed. A step without a strategy is the subject"
        " itself.",
    ),
    EventType(name="subcloud.updated", subject="subcloud", data=SubcloudUpdated, summary="A subcloud was changed."),
    EventType(
        name="subcloud.address-changed",
        subject="subcloud",
        data=SubcloudAddressChanged,
        summary="A subcloud is reached at another address or port.",
    ),
    EventType(
        name="subcloud.host-key-recorded",
        subject="subcloud",
        data=HostKeyRecorded,
        summary="An SSH host key was recorded: that of the first contact, or those that an operator gave.",
    ),
    EventType(
        name="subcloud.host-key-changed",
        subject="subcloud",
        data=HostKeyChanged,
        summary="A subcloud presents another SSH host key than is recorded.",
    ),
    EventType(
        name="subcloud.host-key-forgotten",
        subject="subcloud",
        data=HostKeyForgotten,
        summary="The SSH host keys of a subcloud were forgotten.",
    ),
    EventType(name="subcloud.deleted", subject="subcloud", data=EmptyData, summary="A subcloud was removed."),
    EventType(name="subcloud.online", subject="subcloud", data=EmptyData, summary="The probe found that it answers."),
    EventType(name="subcloud.offline", subject="subcloud", data=EmptyData, summary="The probe found it silent."),
    EventType(name="webhook.disabled", subject="webhook", data=WebhookDisabled, summary="A receiver takes nothing in."),
    EventType(
        name=RESTORED,
        subject="installation",
        data=DatabaseRestored,
        summary="The database was restored from a backup: what was told after the backup is forgotten.",
    ),
)

# No event: it has no number, and only webhooks get it.
PING: Final = EventType(
    name="webhook.ping", subject="webhook", data=WebhookPing, summary="A test that somebody asked for."
)
