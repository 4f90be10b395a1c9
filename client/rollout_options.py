"""Options of `prestager strategy create` and `set` that limit a strategy, as the API's object `rollout`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from client.errors import SurroundingsError
from statemachine.rollout import OnBudget, OnPrepareFailure, OnTimeLimit, RolloutMode

_NONE: Final = "none"
_LIMITS: Final = ("precheck", "prepare", "packages", "images", "site", "strategy")

MaxFailures = Annotated[
    str | None,
    typer.Option(metavar="N|P%", help="Failed sites that are borne, as a number or as 10% of all; none: any number."),
]
OnBudgetChoice = Annotated[
    OnBudget | None,
    typer.Option("--on-budget", help="Once more failed: hold the start of others until resumed, or end the strategy."),
]
OnPrepareFailureChoice = Annotated[
    OnPrepareFailure | None,
    typer.Option("--on-prepare-failure", help="When a preparation fails: its sites fail, or wait until resumed."),
]
RampStart = Annotated[
    str | None,
    typer.Option(
        "--ramp-start", metavar="N", help="Most sites at once in the beginning; one more for each that succeeded."
    ),
]
Canary = Annotated[
    str | None,
    typer.Option(
        metavar="N|P%|SELECTOR",
        help="Sites that come before all others: a number, 10% of all, or those with these labels. Once one of them"
        " failed, the others do not start until resumed. Sets --mode window.",
    ),
]
Soak = Annotated[
    int | None,
    typer.Option(min=1, metavar="SECONDS", help="How long the others wait after the end of the canary."),
]
AskApproval = Annotated[
    bool,
    typer.Option(
        "--gate", help="After the canary the others wait until another person approves: prestager strategy approve."
    ),
]
Approvers = Annotated[
    list[str] | None,
    typer.Option(
        "--approver",
        metavar="NAME",
        help="The only one who may approve, by the name that whoami shows; may be given again.",
    ),
]
TimeLimits = Annotated[
    list[str] | None,
    typer.Option(
        "--time-limit",
        metavar="WHAT=SECONDS",
        help="Longest precheck, prepare, packages, images, site or strategy, such as site=3600; none: no limit.",
    ),
]

OnTimeLimitChoice = Annotated[
    OnTimeLimit | None,
    typer.Option(
        "--on-strategy-limit",
        help="At the end of --time-limit strategy=…: abort lets running sites end, cancel stops them.",
    ),
]


def rollout_options(  # noqa: PLR0913 - options of the shell
    *,
    max_failures: str | None,
    on_budget: OnBudget | None,
    on_prepare_failure: OnPrepareFailure | None,
    ramp_start: str | None,
    time_limits: Sequence[str] | None,
    on_strategy_limit: OnTimeLimit | None,
) -> dict[str, Any]:
    """Return the options that were given, by their names on the wire; null for one that is taken away.

    Raises:
        SurroundingsError: A time limit has not the form WHAT=SECONDS.
    """
    given: dict[str, Any] = {}
    if max_failures is not None:
        given["max-failures"] = _number(max_failures)
    if on_budget is not None:
        given["on-budget"] = str(on_budget)
    if on_prepare_failure is not None:
        given["on-prepare-failure"] = str(on_prepare_failure)
    if ramp_start is not None:
        start = _number(ramp_start)
        given["ramp"] = None if start is None else {"start": start}
    if time_limits:
        given["timeouts"] = dict(map(_time_limit, time_limits))
    if on_strategy_limit is not None:
        given.setdefault("timeouts", {})["on-strategy-limit"] = str(on_strategy_limit)
    return given


def canary_options(
    canary: str | None, *, soak: int | None, is_gated: bool, approvers: Sequence[str] | None
) -> dict[str, Any]:
    """Return the options of a rollout whose first stage is a canary, of which no site may fail; empty without one.

    Raises:
        SurroundingsError: A soak time or a gate is given, and no canary that they could follow.
    """
    given: dict[str, Any] = {"approvers": [*approvers]} if approvers else {}
    if canary is None:
        if soak is not None or is_gated:
            raise SurroundingsError("--soak and --gate come after a canary: give --canary too.")
        return given
    stage = _canary_stage(canary)
    stage |= {} if soak is None else {"soak-s": soak}
    stage |= {"gate": "approval"} if is_gated else {}
    return {**given, "mode": str(RolloutMode.WINDOW), "stages": [stage]}


def _canary_stage(text: str) -> dict[str, Any]:
    number = _number(text.removesuffix("%"))
    stage: dict[str, Any] = {"name": "canary", "max-failures": 0}
    if not isinstance(number, int):
        return stage | {"selector": text}
    return stage | {"percent" if text.endswith("%") else "count": number}


def _number(text: str) -> int | str | None:
    """Return a number as one, `none` as null, and any other text as it is: the API judges it."""
    if text == _NONE:
        return None
    return int(text) if text.isascii() and text.isdigit() else text


def _time_limit(text: str) -> tuple[str, int | str | None]:
    what, separator, seconds = text.partition("=")
    if not separator or what not in _LIMITS:
        raise SurroundingsError(
            f"--time-limit {text} has not the form WHAT=SECONDS; WHAT is one of {', '.join(_LIMITS)}."
        )
    return f"{what}-s", _number(seconds)
