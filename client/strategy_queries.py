"""`prestager strategy show`, `steps` and `history`: list strategies and sites."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from client.api_client import ApiClient
from client.client_command import Invocation, client_command
from client.errors import RefusedError
from client.output import Record, ShownField, print_record, print_records, printable, say
from statemachine.rollout import StepOutcome, StepProgress
from statemachine.states import FailureClass, StepState

# Of every request about the active strategy: behind a shared front end it never reaches another service's.
TYPE: Final = "prestage"
ACTIVE: Final = "sw-update-strategy"
HISTORY: Final = "strategies"

NOT_FOUND: Final = 404
# Verbs of the command line that are other words than the API's.
_VERBS: Final = {"update": "set"}


class RunWord(StrEnum):
    """State of the run of a step that is worked on."""

    QUEUED = "queued"
    RUNNING = "running"


# With all words as its metavar an option would be wider than a terminal.
StepStates = Annotated[
    list[StepState] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only sites whose step of the strategy is in this state; may be given again. There are"
        f" {', '.join(StepState)}.",
    ),
]
FailureClasses = Annotated[
    list[FailureClass] | None,
    typer.Option(
        "--class",
        metavar="CLASS",
        help=f"Only sites with a failure of this class; may be given again. There are {', '.join(FailureClass)}.",
    ),
]

ProblemId = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Only sites with this problem: its id, or a beginning of 4 signs or more that no other problem has.",
    ),
]


def moment_text(moment: str) -> str:
    """Return a moment of the API, in either of its spellings, to the second."""
    return moment.partition(".")[0].replace("T", " ")


def counts_text(progress: Record) -> str:
    """Return how many sites of a progress there are under each word, without the words of none."""
    return ", ".join(f"{word} {progress[word]}" for word in (*StepOutcome, *reversed(StepProgress)) if progress[word])


def forecast(progress: Record) -> list[str]:
    """Return pace and likely end of a strategy, as far as the answer has them; nothing of one that has ended.

    A service of before forecasts says nothing of them.
    """
    pace, eta, missing = progress.get("pace"), progress.get("eta"), progress.get("eta-missing")
    parts = [f"pace {pace:g}/min"] if pace is not None and (eta or missing) else []
    if eta:
        parts.append(f"likely done {span_text(eta['p10'], eta['p90'])} UTC")
    elif missing:
        parts.append(printable(f"end not known: {missing}"))
    return parts


def span_text(first: str, last: str) -> str:
    """Return two moments to the minute, each with its day, but for today, or the day of the first."""
    begin_day, _, begin = moment_text(first).partition(" ")
    end_day, _, end = moment_text(last).partition(" ")
    shown = "" if begin_day == time.strftime("%Y-%m-%d", time.gmtime()) else f"{begin_day} "
    return f"{shown}{begin[:5]} to {'' if end_day == begin_day else f'{end_day} '}{end[:5]}"


def end_text(progress: Record) -> str:
    """Return pace and likely end of a strategy as one text."""
    return ", ".join(forecast(progress))


def excluded_text(excluded: list[Record]) -> str:
    """Return the sites that are left out, each with the reason."""
    return ", ".join(f"{one['name']} ({str(one['reason']).removesuffix('.')})" for one in excluded)


def _holds_text(holds: list[Record]) -> str:
    return "; ".join(map(hold_sentence, holds))


def _holder_text(hold: Record) -> str:
    return ": ".join(filter(None, [str(hold["by"] or hold["kind"]), str(hold["reason"])]))


def hold_sentence(hold: Record) -> str:
    """Return who or what holds a strategy, since when and why, such as `operator alice since …: reason (starts)`.

    A soak time has its end, a gate those who may open it.
    """
    by = f" {hold['by']}" if hold["by"] else ""
    until = f" until {moment_text(hold['until'])}" if hold.get("until") else ""
    reason = f": {hold['reason']}" if hold["reason"] else ""
    return f"{hold['kind']}{by} since {moment_text(hold['since'])}{until}{reason} ({hold['scope']}){_opener(hold)}"


def _opener(hold: Record) -> str:
    """Return who may approve; empty for what is no gate, and for a gate that everybody with the role may open."""
    barred = f"not by {hold['barred']}" if hold.get("barred") else ""
    if hold.get("approvers"):
        allowed = ", ".join(one for one in hold["approvers"] if one != hold["barred"])
        return f"; to be approved by {allowed or 'nobody: ' + barred}"
    return f"; to be approved, {barred}" if barred else ""


def _commands_text(commands: list[str]) -> str:
    return ", ".join(sorted(_VERBS.get(command, command) for command in commands))


STRATEGY_FIELDS: Final = (
    ShownField(key="id", title="strategy"),
    ShownField(key="state", title="state"),
    ShownField(key="retry-of", title="retries strategy"),
    ShownField(key="holds", title="held by", text=_holds_text),
    ShownField(key="limit-reached", title="ended by"),
    ShownField(key="extra-args.prestage-software-version", title="release"),
    ShownField(key="progress", title="sites", text=counts_text),
    ShownField(key="progress", title="pace and end", text=end_text),
    ShownField(key="subcloud-apply-type", title="apply type"),
    ShownField(key="max-parallel-subclouds", title="most at once"),
    ShownField(key="stop-on-failure", title="stops on failure"),
    ShownField(key="rollout", title="rollout"),
    ShownField(key="requested-by", title="asked for by"),
    ShownField(key="created-at", title="created (UTC)", text=moment_text),
    ShownField(key="started-at", title="started (UTC)", text=moment_text),
    ShownField(key="finished-at", title="finished (UTC)", text=moment_text),
    ShownField(key="duration-s", title="seconds", is_wide=True),
    ShownField(key="extra-args.force", title="in spite of alarms", is_wide=True),
    ShownField(key="extra-args.for_sw_deploy", title="for software deploy", is_wide=True),
    ShownField(key="updated-at", title="changed (UTC)", is_wide=True, text=moment_text),
    ShownField(key="deleted-at", title="deleted (UTC)", is_wide=True, text=moment_text),
    ShownField(key="excluded-subclouds", title="left out", text=excluded_text),
    ShownField(key="commands", title="possible now", text=_commands_text),
)
_HISTORY_FIELDS: Final = (
    ShownField(key="id", title="STRATEGY"),
    ShownField(key="state", title="STATE"),
    ShownField(key="extra-args.prestage-software-version", title="RELEASE"),
    ShownField(key="requested-by", title="BY"),
    ShownField(key="started-at", title="STARTED (UTC)", is_spare=True, text=moment_text),
    ShownField(key="finished-at", title="FINISHED (UTC)", is_spare=True, text=moment_text),
    ShownField(key="created-at", title="CREATED (UTC)", is_wide=True, text=moment_text),
    ShownField(key="deleted-at", title="DELETED (UTC)", is_wide=True, text=moment_text),
    ShownField(key="progress", title="SITES", text=counts_text),
)
_PROBLEM_FIELDS: Final = (
    ShownField(key="id", title="PROBLEM"),
    ShownField(key="count", title="SITES"),
    ShownField(key="phase", title="PHASE", is_spare=True),
    ShownField(key="class", title="CLASS", is_spare=True),
    ShownField(key="task", title="TASK", is_wide=True),
    ShownField(key="text", title="WHAT WENT WRONG"),
    ShownField(key="advice", title="WHAT TO DO"),
    ShownField(key="retryable", title="RETRYABLE", is_wide=True),
    ShownField(key="clouds", title="SUCH AS", is_wide=True),
    ShownField(key="first", title="FIRST (UTC)", is_wide=True),
    ShownField(key="last", title="LAST (UTC)", is_wide=True),
    ShownField(key="sample.log", title="LOG OF ONE", is_wide=True),
)
STEP_FIELDS: Final = (
    ShownField(key="cloud", title="site"),
    ShownField(key="stage", title="stage"),
    ShownField(key="state", title="state"),
    ShownField(key="started-at", title="started (UTC)", is_spare=True, text=moment_text),
    ShownField(key="finished-at", title="finished (UTC)", is_spare=True, text=moment_text),
    ShownField(key="updated-at", title="changed (UTC)", is_wide=True, text=moment_text),
    ShownField(key="held", title="held by", is_spare=True, text=_holder_text),
    ShownField(key="details", title="details"),
)


@client_command
def show(
    invocation: Invocation,
    strategy: Annotated[
        int | None, typer.Argument(metavar="ID", help="A strategy of the history; without it the active one.")
    ] = None,
) -> None:
    """Show the strategy: its state, how many sites are in which state, and which are left out."""
    found = active_strategy(invocation.api) if strategy is None else past_strategy(invocation.api, strategy)
    print_record(found, STRATEGY_FIELDS, invocation.form, "id")


@client_command
def steps(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    state: StepStates = None,
    outcome: Annotated[
        list[StepOutcome] | None, typer.Option(help="Only sites that ended so; may be given again.")
    ] = None,
    failure_class: FailureClasses = None,
    problem: ProblemId = None,
    stage: Annotated[int | None, typer.Option(min=1, help="Only sites of this stage.")] = None,
    group: Annotated[str | None, typer.Option(help="Only sites that are in this group now.")] = None,
    subcloud: Annotated[
        str | None, typer.Option(help="Only sites of this name; * stands for any text, ? for one character.")
    ] = None,
    selector: Annotated[str | None, typer.Option(help="Only sites whose labels match now: region=eu,!old.")] = None,
    run_state: Annotated[
        RunWord | None, typer.Option(help="queued: only sites whose phase waits for a slot; running: only the others.")
    ] = None,
) -> None:
    """List the sites of the active strategy: stage, state, and why one failed or was skipped."""
    given = given_filters(
        {
            "state": state,
            "outcome": outcome,
            "class": failure_class,
            "problem": problem,
            "stage": stage,
            "group": group,
            "cloud": subcloud,
            "selector": selector,
            "run-state": run_state,
        }
    )
    found = invocation.api.read(ACTIVE, "steps", type=TYPE, **given)["strategy-steps"]
    print_records(found, STEP_FIELDS, invocation.form, "cloud")


@client_command
def problems(
    invocation: Invocation,
    strategy: Annotated[
        int | None, typer.Argument(metavar="ID", help="A strategy of the history; without it the active one.")
    ] = None,
) -> None:
    """List why sites of the strategy failed: each cause once, with how many sites have it and what to do next."""
    if strategy is None:
        found = invocation.api.read(ACTIVE, "problems", type=TYPE)
    else:
        found = invocation.api.read(HISTORY, str(strategy), "problems")
    print_records(found["problems"], _PROBLEM_FIELDS, invocation.form, "id")
    if found["others"]:
        say(f"{found['others']} more sites failed for rarer reasons; prestager strategy steps lists all of them.")


@client_command
def history(
    invocation: Invocation,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
) -> None:
    """List past and present strategies, newest first, with how their sites ended."""
    found = invocation.api.read(HISTORY, limit=limit)["strategies"]
    print_records(found, _HISTORY_FIELDS, invocation.form, "id")


def given_filters(filters: Mapping[str, str | int | Sequence[str] | None]) -> dict[str, str | int]:
    """Return the filters of a list that are given, as the API takes them: several words with commas between them."""
    texts = {name: value if isinstance(value, (str, int)) else ",".join(value or ()) for name, value in filters.items()}
    return {name: value for name, value in texts.items() if value != ""}


def active_strategy(api: ApiClient) -> dict[str, Any]:
    """Return the active strategy, with the counts and moments of the history.

    Raises:
        RefusedError: There is none, or the API refused the request.
    """
    try:
        active: dict[str, Any] = api.read(ACTIVE, type=TYPE)
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise
        raise RefusedError(
            "There is no strategy. Create one: prestager strategy create; past ones: prestager strategy history",
            NOT_FOUND,
        ) from None
    return past_strategy(api, active["id"]) | active


def past_strategy(api: ApiClient, number: int) -> dict[str, Any]:
    """Return a strategy of any time.

    Raises:
        RefusedError: There is none of this number.
    """
    found: dict[str, Any] = api.read(HISTORY, str(number))
    return found
