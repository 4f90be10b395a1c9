"""The JSON objects of the wire as types: mypy holds the code to them, and the documents are made of them.

Most are in the functional form, for their keys have dashes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from messages.commands import CommandType, ShellAction
from statemachine.rollout import HoldKind, HoldScope, StepOutcome
from statemachine.states import (
    ApplyType,
    FailureClass,
    RunOutcome,
    RunState,
    StepState,
    StepType,
    StrategyState,
)

Moment = Annotated[str, Field(description="A moment in UTC, without a zone.", examples=["2026-11-22 08:00:00.123456"])]
ZonedMoment = Annotated[
    str,
    Field(
        description="A moment in UTC.",
        examples=["2026-11-22T08:00:00+00:00"],
        json_schema_extra={"format": "date-time"},
    ),
]
Seconds = Annotated[float, Field(description="In seconds.")]
Count = Annotated[int, Field(ge=0)]
Notes = Annotated[
    str | None,
    Field(
        description="Why it is not known whether the system controller has the release, which workers cannot run the"
        " playbooks, and for which work there is no worker."
    ),
]

StrategyArguments = TypedDict(
    "StrategyArguments",
    {"force": bool, "prestage-software-version": str, "for_sw_deploy": bool},
)


class Excluded(TypedDict):
    """A subcloud that a strategy leaves out, and why."""

    name: str
    reason: str


class Hold(TypedDict):
    """An open hold."""

    id: int
    kind: HoldKind
    scope: Annotated[
        HoldScope, Field(description="`starts`: no site leaves `initial`; `phases`: no next phase begins either.")
    ]
    stage: Annotated[int | None, Field(description="The stage after which the stages are held; null: all are.")]
    reason: str
    since: Moment
    by: Annotated[str, Field(description="The caller who made it; empty for the coordinator.")]
    until: Annotated[Moment | None, Field(description="When it ends by itself; null: it does not.")]
    approvers: Annotated[
        list[str] | None, Field(description="Of a gate: the only ones who may approve; null: whoever has the role.")
    ]
    barred: Annotated[
        str | None, Field(description="Of a gate that was asked for: the creator, who may not approve; else null.")
    ]


Strategy = TypedDict(
    "Strategy",
    {
        "id": int,
        "type": str,
        "subcloud-apply-type": ApplyType | None,
        "max-parallel-subclouds": int | None,
        "stop-on-failure": bool,
        "state": StrategyState,
        "created-at": Moment,
        "updated-at": Moment | None,
        "extra-args": StrategyArguments,
        "excluded-subclouds": list[Excluded],
        "rollout": Annotated[
            dict[str, Any],
            Field(
                description="Options of the rollout that count, after request, group and installation were merged. Each"
                " of its `stages` has `stage`, its number, and `sites`, how many it has; a stage without sites has no"
                " number. The last one, `rest`, has the sites that match none. `passed-at` says since when the next"
                " one may start, `decision` who approved or denied it."
            ),
        ],
        "holds": Annotated[
            list[Hold],
            Field(description="Open holds, but for those of single sites, the oldest first."),
        ],
        "limit-reached": Annotated[
            str, Field(description="Which time limit aborted or cancelled it, as a sentence; empty: none did.")
        ],
        "commands": Annotated[
            list[str], Field(description="Commands that its state allows now, without the prefix `strategy.`.")
        ],
        "commands-refused": Annotated[
            dict[str, str], Field(description="Of each other command, why it would be refused, for people.")
        ],
        "retry-of": Annotated[int | None, Field(description="Id of the strategy whose sites it retries.")],
    },
)


class ExpectedEnd(TypedDict):
    """Moments of the likely end."""

    p10: Annotated[Moment, Field(description="It ends before this moment in 10 of 100 cases.")]
    p50: Annotated[Moment, Field(description="As likely before it as after it.")]
    p90: Annotated[Moment, Field(description="It ends before this moment in 90 of 100 cases.")]


class PresentStage(TypedDict):
    """The first stage that is open."""

    number: Annotated[int, Field(ge=1)]
    last: Annotated[int, Field(ge=1, description="Number of the last stage of the strategy.")]
    total: Annotated[Count, Field(description="Steps of the stage.")]
    ended: Annotated[Count, Field(description="Those of them that have ended.")]


Progress = TypedDict(
    "Progress",
    {
        "total": Annotated[Count, Field(description="All its steps: the sum of the counts below.")],
        "not-started": Annotated[Count, Field(description="In `initial`, without a run.")],
        "queued": Annotated[Count, Field(description="Their run waits for a worker.")],
        "running": Annotated[Count, Field(description="A worker has taken their run.")],
        "preparing": Annotated[Count, Field(description="They wait for a shared preparation and keep their place.")],
        "parked": Annotated[
            Count, Field(description="In a working phase, without a run: a hold covers them, or they wait for a place.")
        ],
        "complete": Count,
        "skipped": Annotated[Count, Field(description="Complete without work.")],
        "failed": Count,
        "aborted": Annotated[Count, Field(description="Ended before they started.")],
        "cancelled": Annotated[Count, Field(description="Stopped on request.")],
        "started-at": Annotated[Moment | None, Field(description="When the first of its steps began.")],
        "last-change-at": Annotated[Moment | None, Field(description="When one of its steps changed last.")],
        "pace": Annotated[float, Field(ge=0, description="Sites that end per minute, over the last five minutes.")],
        "eta": Annotated[
            ExpectedEnd | None, Field(description="When it is likely to end; null: it has ended, or see `eta-missing`.")
        ],
        "eta-missing": Annotated[
            str | None,
            Field(description="Why nobody can tell the end, such as `held by alice`; null: it is told, or has come."),
        ],
        "usual": Annotated[
            dict[str, float],
            Field(
                description="Median seconds of the successful runs by phase: of this strategy, or while fewer than five"
                " have ended, of others in the last 90 days. Empty: none is known yet, or it has ended."
            ),
        ],
        "blocked-by": Annotated[
            list[str],
            Field(
                description="Sites, at most ten, that are held by themselves and alone keep a stage open, so that the"
                " next one waits."
            ),
        ],
        "stage": Annotated[
            PresentStage | None, Field(description="The first stage that is open; null: all steps have ended.")
        ],
    },
)


class CountedStrategy(Strategy):
    """A strategy with the progress of its steps."""

    progress: Annotated[Progress, Field(description="How far its steps are.")]


_Resumed = TypedDict(
    "_Resumed", {"secret-replaced": Annotated[bool, Field(description="Whether a new password came with it.")]}
)


class ResumedStrategy(Strategy, _Resumed):
    """A strategy whose holds were ended."""


class CreatedStrategy(Strategy):
    """A strategy that was created."""

    info_message: Notes


PreviewedStage = TypedDict(
    "PreviewedStage",
    {
        "stage": Annotated[int, Field(ge=1)],
        "name": Annotated[str, Field(description="Its name in `rollout.stages`; empty: that names none.")],
        "width": Annotated[
            int | None, Field(description="Most sites at once; null: only the strategy's width counts.")
        ],
        "soak-s": Annotated[int | None, Field(description="Seconds that the next stage waits after its end.")],
        "gate": Annotated[Literal["approval"] | None, Field(description="Whether the next stage needs an approval.")],
        "count": Count,
        "clouds": Annotated[list[str], Field(description="Names of its subclouds, in the order in which they start.")],
    },
)


StrategyPreview = TypedDict(
    "StrategyPreview",
    {
        "release": str,
        "subcloud-apply-type": ApplyType | None,
        "max-parallel-subclouds": int | None,
        "rollout": Annotated[dict[str, Any], Field(description="Options of the rollout that would count.")],
        "sites": Count,
        "stages": list[PreviewedStage],
        "excluded-subclouds": list[Excluded],
        "warnings": Annotated[list[str], Field(description="Sentences that keep nothing from being created.")],
        "refusals": Annotated[
            list[str],
            Field(description="Why it would not be created now; the first one would be the answer. None: it would."),
        ],
        "plan-digest": Annotated[
            str,
            Field(
                description="For the same key of a request to create it, which is refused once the plan is another"
                " one.",
                examples=["412-9-0123456789ab"],
            ),
        ],
    },
)

_Past = TypedDict(
    "_Past",
    {
        "requested-by": Annotated[str, Field(description="Name of the caller who created it.")],
        "retried-by": Annotated[list[int], Field(description="Ids of the strategies that retry it.")],
        "steps": Annotated[dict[str, int], Field(description="How many of its steps are in each state.")],
        "started-at": Annotated[Moment | None, Field(description="When the first of its steps began.")],
        "finished-at": Moment | None,
        "deleted-at": Moment | None,
        "duration-s": Seconds | None,
    },
)


class HistoricStrategy(CountedStrategy, _Past):
    """A strategy of any time."""


ProblemId = Annotated[
    str,
    Field(description="Fingerprint of the failure: that of all steps with the same cause.", examples=["3f09ab61c2de"]),
]


class ProblemSample(TypedDict):
    """The site that had a problem last."""

    cloud: str
    details: Annotated[str, Field(description="Why its step failed, in whole.")]
    log: Annotated[str, Field(description="Path of the output of its phase.")]


Problem = TypedDict(
    "Problem",
    {
        "id": ProblemId,
        "phase": StepState,
        "class": Annotated[FailureClass, Field(description="Kind of trouble.")],
        "task": Annotated[str, Field(description="The task that failed; empty: none did.")],
        "text": Annotated[
            str,
            Field(
                description="What went wrong: names, addresses, ids and files are `*`, numbers and moments `#`.",
                examples=["ssh: connect to host * port #: Connection timed out"],
            ),
        ],
        "count": Annotated[int, Field(ge=1, description="Sites that have it.")],
        "clouds": Annotated[list[str], Field(max_length=10, description="Names of up to ten of them, newest first.")],
        "first": Annotated[Moment, Field(description="When the first of them ended.")],
        "last": Moment,
        "sample": ProblemSample,
        "retryable": Annotated[bool, Field(description="Whether another try may succeed though nothing was mended.")],
        "advice": Annotated[str, Field(description="What to do next.")],
    },
)


class ProblemList(TypedDict):
    """Problems of a strategy."""

    problems: Annotated[list[Problem], Field(max_length=50, description="The most frequent first.")]
    others: Annotated[Count, Field(description="Sites with a problem that is not listed.")]


class Explanation(TypedDict):
    """The reason for the place of a site in the strategy."""

    cloud: str
    state: StepState
    explanation: Annotated[str, Field(description="One sentence for people; its words may change.")]


Step = TypedDict(
    "Step",
    {
        "id": int,
        "cloud": Annotated[str, Field(description="Name of the subcloud.")],
        "stage": Annotated[int, Field(ge=1, description="Number of the batch that it belongs to.")],
        "state": StepState,
        "details": Annotated[str, Field(description="Why it failed, was skipped or cancelled; otherwise empty.")],
        "outcome": Annotated[StepOutcome | None, Field(description="How it ended; null while it is open.")],
        "class": Annotated[
            FailureClass | None, Field(description="Kind of trouble, where it did not succeed; null otherwise.")
        ],
        "problem": ProblemId | None,
        "held": Annotated[Hold | None, Field(description="The open hold of this site alone.")],
        "cancel-requested-by": Annotated[str | None, Field(description="The caller who had it cancelled.")],
        "proved-by": Annotated[
            int | None, Field(description="Id of the earlier run by which it passed the packages; null: it did not.")
        ],
        "series": Annotated[
            int, Field(ge=1, description="1, and one more each time that it was retried within its strategy.")
        ],
        "group": Annotated[
            str | None, Field(description="Group that its subcloud is in now; null: the subcloud was removed.")
        ],
        "attempt": Annotated[int, Field(ge=1, description="Attempt of its phase: one more after each lost worker.")],
        "run-state": Annotated[
            Literal["queued", "running"] | None,
            Field(description="`queued`: its phase waits for a slot of a worker; null: there is no run now."),
        ],
        "worker": Annotated[str | None, Field(description="Name of the worker that carries its phase out.")],
        "phase-started-at": Annotated[
            Moment | None, Field(description="Since when its run goes on or, while `queued`, waits.")
        ],
        "usual-s": Annotated[
            float | None,
            Field(
                ge=0,
                description="Seconds that the phase of its run usually takes: the median of the last three at this site"
                " or, where there was none, that in `usual` of the strategy; null: not known, or there is no run.",
            ),
        ],
        "started-at": Moment | None,
        "finished-at": Moment | None,
        "created-at": Moment,
        "updated-at": Moment | None,
    },
)
_Commanded = TypedDict(
    "_Commanded",
    {
        "commands": Annotated[
            list[str], Field(description="Of `cancel`, `first`, `hold`, `resume` and `retry` those that are legal now.")
        ],
        "commands-refused": Annotated[
            dict[str, str], Field(description="Of each other one, why it would be refused or change nothing.")
        ],
    },
)


class CommandedStep(Step, _Commanded):
    """A step with its commands, as it is shown by itself."""


Run = TypedDict(
    "Run",
    {
        "id": int,
        "step": Annotated[int, Field(description="Id of the step that was asked for.")],
        "cloud": Annotated[str, Field(description="Name of its subcloud.")],
        "phase": StepState,
        "attempt": Annotated[int, Field(ge=1, description="Number of the try of its phase.")],
        "shared": Annotated[
            bool, Field(description="Whether it is a preparation on the controller, which may serve other sites too.")
        ],
        "state": RunState,
        "outcome": Annotated[RunOutcome | None, Field(description="How it ended; null while it is open.")],
        "details": Annotated[str, Field(description="Why it did not succeed; otherwise mostly empty.")],
        "class": Annotated[
            FailureClass | None, Field(description="Kind of trouble, where it did not succeed; null otherwise.")
        ],
        "problem": ProblemId | None,
        "worker": Annotated[str | None, Field(description="Name of the worker that took it.")],
        "queued-at": Annotated[ZonedMoment, Field(description="When it was handed out.")],
        "started-at": Annotated[ZonedMoment | None, Field(description="When a worker took it.")],
        "finished-at": ZonedMoment | None,
        "log": Annotated[str | None, Field(description="Path of what it printed; null: nothing.")],
    },
)

_Cancelled = TypedDict(
    "_Cancelled",
    {"already-ended": Annotated[bool, Field(description="Whether it had ended before; then nothing was changed.")]},
)


class CancelledStep(Step, _Cancelled):
    """A step that is cancelled, or will be when its worker has stopped it."""


_PastStep = TypedDict("_PastStep", {"release": str, "from-version": str | None, "duration-s": Seconds | None})


class HistoricStep(Step, _PastStep):
    """A step of a strategy of any time."""


_Standalone = TypedDict(
    "_Standalone",
    {
        "type": StepType,
        "requested-by": Annotated[
            str | None, Field(description="The caller who asked for it; null where the audit does not keep it.")
        ],
        "runs": Annotated[str, Field(description="Path of the list of its runs, which have the paths of their logs.")],
    },
)


class StandaloneStep(HistoricStep, _Standalone):
    """A prestage without a strategy, or the removal of a staged release."""


AuditEntry = TypedDict(
    "AuditEntry",
    {
        "id": int,
        "at": Moment,
        "caller": str,
        "origin": Annotated[str | None, Field(description="Address that the API was called from; null by AMQP.")],
        "user-id": Annotated[
            str | None,
            Field(
                description="RabbitMQ user that published the command, as RabbitMQ vouches for it; `caller` is the"
                " source that the publisher claims. Null over HTTP, and where the publisher sent no `user_id`."
            ),
        ],
        "command-id": str,
        "type": CommandType | ShellAction,
        "subject": str | None,
        "status": Annotated[int, Field(description="HTTP status of the answer.")],
        "detail": Annotated[str, Field(description="Why it was refused; otherwise empty.")],
    },
)

Webhook = TypedDict(
    "Webhook",
    {
        "id": int,
        "name": str,
        "url": str,
        "types": Annotated[list[str], Field(description="Beginnings of the types of events; none: every type.")],
        "subcloud": Annotated[str | None, Field(description="The only subcloud whose events are sent.")],
        "enabled": bool,
        "disabled-at": Moment | None,
        "disabled-reason": str | None,
        "failing-since": Annotated[Moment | None, Field(description="Since when every try has failed.")],
        "old-secret-until": Annotated[
            Moment | None, Field(description="Until when deliveries are signed with the secret of before, too.")
        ],
        "created-at": Moment,
        "updated-at": Moment | None,
    },
)
_Counted = TypedDict(
    "_Counted", {"open-deliveries": Annotated[int, Field(ge=0, description="Deliveries that are to be tried.")]}
)
_Tagged = TypedDict(
    "_Tagged", {"secret-tag": Annotated[str, Field(description="Tells one sealed secret from another.")]}
)


class CountedWebhook(Webhook, _Counted):
    """A webhook as it is shown."""


class TaggedWebhook(Webhook, _Tagged):
    """A webhook whose secret has just been stored, as the coordinator answers."""


class WebhookCreated(Webhook):
    """A webhook that was created or changed."""

    secret: NotRequired[
        Annotated[str | None, Field(description="The secret that was made: shown this once; null on a repeat.")]
    ]
    note: NotRequired[Annotated[str, Field(description="Why a secret that was made is not shown.")]]


Delivery = TypedDict(
    "Delivery",
    {
        "id": int,
        "webhook-id": int,
        "event-id": Annotated[int | None, Field(description="Number of the event; null for a ping, which is none.")],
        "type": str,
        "subject": str,
        "cause": Literal["event", "ping", "redelivery"],
        "state": Literal["pending", "delivered", "failed"],
        "attempts": Count,
        "next-attempt-at": Moment | None,
        "status": Annotated[int | None, Field(description="HTTP status of the last answer.")],
        "error": Annotated[str | None, Field(description="Why the last try failed.")],
        "duration-s": Annotated[float | None, Field(description="Of the last try, in seconds.")],
        "attempted-at": Moment | None,
        "created-at": Moment,
        "finished-at": Moment | None,
    },
)
