"""The JSON objects of the wire as types: mypy holds the code to them, and the documents are made of them.

Most are in the functional form, for their keys have dashes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from statemachine.rollout import HoldKind, HoldScope
from statemachine.states import (
    ApplyType,
    StrategyState,
)

Moment = Annotated[
    str,
    Field(
        description="A moment in UTC: without a zone in answers of dcmanager's API, with one in all others.",
        examples=["2026-11-22 08:00:00.123456", "2026-11-22T08:00:00.123+00:00"],
    ),
]
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


ExpectedDuration = TypedDict(
    "ExpectedDuration",
    {
        "p10-s": Annotated[float, Field(ge=0, description="Seconds in which it ends in 10 of 100 cases.")],
        "p50-s": Annotated[float, Field(ge=0, description="As likely to take less as more.")],
        "p90-s": Annotated[float, Field(ge=0, description="Seconds in which it ends in 90 of 100 cases.")],
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
        "expected": Annotated[
            ExpectedDuration | None,
            Field(
                description="How long it is likely to take once it is applied, without approvals; from phases that"
                " ended in the last 90 days, with all slots of the workers. Null: see `expected-missing`."
            ),
        ],
        "expected-missing": Annotated[
            str | None, Field(description="Why that is not known, such as `too few sites have ended`.")
        ],
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
        "started-at": Annotated[ZonedMoment | None, Field(description="When the first of its steps began.")],
        "finished-at": ZonedMoment | None,
        "deleted-at": ZonedMoment | None,
        "duration-s": Seconds | None,
    },
)


class HistoricStrategy(CountedStrategy, _Past):
    """A strategy of any time."""
