"""Options of a rollout: how a strategy is limited, as a request, a group or the installation gives them.

They are merged key by key: the request before the group that it names, the group before the installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, StrictInt, field_validator

from messages.limits import TEXT_LENGTH
from messages.requests.base import ErrorMessage, Request, parse_request, validation_error
from messages.requests.fields import Nested
from messages.requests.rollout_stages import MOST_AT_ONCE, MaxFailures, RolloutStage, StageList
from statemachine.rollout_stages import REST

# Longest time limit, in seconds: thirty days.
LONGEST_LIMIT_S: Final = 30 * 24 * 3600
# Most names of those who may approve a gate.
MOST_APPROVERS: Final = 50


def _limit_text(least: int, most: int) -> ErrorMessage:
    return ErrorMessage(f"{{key}} must be a whole number from {least} to {most}, got {{value}}")


def _choice(*values: str) -> ErrorMessage:
    return ErrorMessage(f"{{key}} must be one of {', '.join(values)}, got {{value}}")


_Seconds = Annotated[
    Annotated[StrictInt, Field(ge=1, le=LONGEST_LIMIT_S)] | None,
    _limit_text(1, LONGEST_LIMIT_S),
]


class TimeLimits(Request):
    """Time limits, each in seconds."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    precheck_s: _Seconds = Field(None, alias="precheck-s", description="Longest precheck of a site.")
    prepare_s: _Seconds = Field(None, alias="prepare-s", description="Longest preparation on the controller.")
    packages_s: _Seconds = Field(None, alias="packages-s", description="Longest packages phase of a site.")
    images_s: _Seconds = Field(None, alias="images-s", description="Longest images phase of a site.")
    site_s: _Seconds = Field(
        None,
        alias="site-s",
        description="Longest work on a site: the sum of its runs, without queue, holds and preparation.",
    )
    strategy_s: _Seconds = Field(
        None,
        alias="strategy-s",
        description="Longest strategy, from apply, without the time under a hold that covers everything.",
    )
    on_strategy_limit: Annotated[Literal["abort", "cancel"] | None, _choice("abort", "cancel")] = Field(
        None,
        alias="on-strategy-limit",
        description="At the end of `strategy-s`: `abort` lets running sites end, `cancel` stops them. Default: abort.",
    )


class Ramp(Request):
    """A slow start: the window grows by each site that succeeded."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    start: Annotated[
        Annotated[StrictInt, Field(ge=1, le=MOST_AT_ONCE)],
        ErrorMessage(
            f"{{key}} must be a whole number from 1 to {MOST_AT_ONCE}, got {{value}}", missing="{key} required"
        ),
    ] = Field(description="Most sites at once in the beginning; skipped ones do not make it grow.")


class RolloutChange(Request):
    """Options that can be changed while a strategy runs; null takes a limit away."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()
    fixed_names: ClassVar[frozenset[str]] = frozenset({"mode", "order", "stages", "approvers"})

    max_failures: MaxFailures = Field(
        None,
        alias="max-failures",
        description="Failed sites that are borne, as a number, or as a percentage of the sites as created (`10%`).",
    )
    on_budget: Annotated[Literal["pause", "stop"] | None, _choice("pause", "stop")] = Field(
        None,
        alias="on-budget",
        description="Once more sites failed: `pause` holds the start of others until resumed, `stop` ends the strategy"
        " with those that have started. Default: pause.",
    )
    on_prepare_failure: Annotated[Literal["fail", "pause"] | None, _choice("fail", "pause")] = Field(
        None,
        alias="on-prepare-failure",
        description="When a preparation fails: `fail` its sites, or `pause` them until resumed. Default: fail.",
    )
    ramp: Annotated[Ramp | None, Nested("ramp", Ramp)] = Field(
        None, description="A slow start; with `mode: window` only."
    )
    timeouts: Annotated[TimeLimits | None, Nested("timeouts", TimeLimits)] = Field(None, description="Time limits.")

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by their names on the wire; null where one is taken away."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @classmethod
    def kept(cls, options: Mapping[str, Any]) -> Self:
        """Return options that were validated before, from their names on the wire."""
        return parse_request(cls, options)


class RolloutOptions(RolloutChange):
    """All options of a rollout."""

    mode: Annotated[Literal["stages", "window"] | None, _choice("stages", "window")] = Field(
        None,
        description="`stages`: the next stage starts when the one before it has ended. `window`: the next site starts"
        " when one has ended. Default: stages.",
    )
    order: Annotated[Literal["by-id", "longest-first"] | None, _choice("by-id", "longest-first")] = Field(
        None,
        description="Order of the sites of a group; with `mode: window` only. `longest-first` goes by how long a site"
        " took in its last three complete strategies. Default: by-id.",
    )
    stages: StageList = Field(
        None,
        description="Stages of a window, each of which starts when the one before it has ended; with `mode: window`"
        f" only. Sites that match none are the last stage, `{REST}`.",
    )

    approvers: Annotated[
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH)], ...],
            Field(min_length=1, max_length=MOST_APPROVERS),
        ]
        | None,
        ErrorMessage(f"{{key}} must be a list of 1 to {MOST_APPROVERS} names"),
    ] = Field(
        None,
        description="Names of those who may approve a gate, as `whoami` shows them: tokens, or users of Keystone."
        " Without it everybody may who may apply a strategy, but for the one who created it.",
    )

    @field_validator("stages")
    @classmethod
    def _judge_names(cls, stages: tuple[RolloutStage, ...] | None) -> tuple[RolloutStage, ...] | None:
        """Refuse two stages with one name."""
        seen: set[str] = set()
        for stage in stages or ():
            if stage.name in seen:
                raise validation_error(f"stages has two stages with the name {stage.name}")
            seen.add(stage.name)
        return stages


DEFAULTS: Final[Mapping[str, Any]] = {
    "mode": "stages",
    "order": "by-id",
    "on-budget": "pause",
    "on-prepare-failure": "fail",
}


def merge_options(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that count, by their names on the wire: of each key the first source that has it.

    A null in a source takes the option of later ones away, and one among its time limits that limit. Defaults fill the
    rest.
    """
    merged = dict(DEFAULTS)
    for source in reversed(sources):
        merged |= source
    merged |= {name: default for name, default in DEFAULTS.items() if merged[name] is None}
    limits = merged.get("timeouts") or {}
    merged["timeouts"] = {name: limit for name, limit in limits.items() if limit is not None} or None
    return {name: value for name, value in merged.items() if value is not None}


def conflict(options: Mapping[str, Any]) -> str | None:
    """Return why merged options exclude each other; None: they do not."""
    if options["mode"] == "window":
        return None
    if options.get("ramp") is not None:
        return "rollout.ramp needs rollout.mode window: the width of stages is fixed at create"
    if options.get("stages") is not None:
        return "rollout.stages needs rollout.mode window"
    if options["order"] != DEFAULTS["order"]:
        return "rollout.order needs rollout.mode window"
    return None


def loosening(options: Mapping[str, Any], *sources: Mapping[str, Any]) -> str | None:
    """Return why merged options loosen gates or approvers of the sources that they come from; None: they do not.

    A stage with a gate there must have one here, and approvers here must be approvers there.
    """
    gated = {one["name"] for one in options.get("stages") or () if one.get("gate") is not None}
    for source in sources:
        lost = [
            one["name"]
            for one in source.get("stages") or ()
            if one.get("gate") is not None and one["name"] not in gated
        ]
        if lost:
            return f"rollout.stages must keep the gate of stage {lost[0]}, which the group or the installation sets"
        allowed, named = source.get("approvers"), options.get("approvers")
        if allowed and not (named and set(named) <= set(allowed)):
            return f"rollout.approvers may name only {', '.join(allowed)}, whom the group or the installation sets"
    return None


Rollout = Annotated[RolloutOptions | None, Nested("rollout", RolloutOptions)]
RolloutPatch = Annotated[RolloutChange | None, Nested("rollout", RolloutChange)]
