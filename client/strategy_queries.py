"""`prestager strategy show`, `steps`, `history` and `watch`: list strategies and sites, follow one to its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from client.api_client import PATIENCE_S, ApiClient
from client.client_command import Invocation, client_command
from client.errors import ExitCode, RefusedError, TimeIsUpError, UnreachableError
from client.output import Record, ShownField, print_record, print_records, say
from statemachine.states import StepState, StrategyState

# Of every request about the active strategy: behind a shared front end it never reaches another service's.
TYPE: Final = "prestage"
ACTIVE: Final = "sw-update-strategy"
HISTORY: Final = "strategies"

NOT_FOUND: Final = 404


def _excluded_text(excluded: list[Record]) -> str:
    return ", ".join(f"{one['name']} ({str(one['reason']).removesuffix('.')})" for one in excluded)


def _holds_text(holds: list[Record]) -> str:
    return "; ".join(map(hold_sentence, holds))


def hold_sentence(hold: Record) -> str:
    """Return who or what holds a strategy, since when and why, such as `operator alice since …: reason (starts)`."""
    by = f" {hold['by']}" if hold["by"] else ""
    reason = f": {hold['reason']}" if hold["reason"] else ""
    return f"{hold['kind']}{by} since {str(hold['since']).partition('.')[0]}{reason} ({hold['scope']})"


STRATEGY_FIELDS: Final = (
    ShownField(key="id", title="strategy"),
    ShownField(key="state", title="state"),
    ShownField(key="holds", title="held by", text=_holds_text),
    ShownField(key="extra-args.prestage-software-version", title="release"),
    ShownField(key="steps", title="sites"),
    ShownField(key="subcloud-apply-type", title="apply type"),
    ShownField(key="max-parallel-subclouds", title="most at once"),
    ShownField(key="stop-on-failure", title="stops on failure"),
    ShownField(key="rollout", title="rollout"),
    ShownField(key="requested-by", title="asked for by"),
    ShownField(key="created-at", title="created (UTC)"),
    ShownField(key="started-at", title="started (UTC)"),
    ShownField(key="finished-at", title="finished (UTC)"),
    ShownField(key="duration-s", title="seconds", is_wide=True),
    ShownField(key="extra-args.force", title="in spite of alarms", is_wide=True),
    ShownField(key="extra-args.for_sw_deploy", title="for software deploy", is_wide=True),
    ShownField(key="updated-at", title="changed (UTC)", is_wide=True),
    ShownField(key="deleted-at", title="deleted (UTC)", is_wide=True),
    ShownField(key="excluded-subclouds", title="left out", text=_excluded_text),
    ShownField(key="commands", title="possible now"),
)
_HISTORY_FIELDS: Final = (
    ShownField(key="id", title="STRATEGY"),
    ShownField(key="state", title="STATE"),
    ShownField(key="extra-args.prestage-software-version", title="RELEASE"),
    ShownField(key="requested-by", title="BY"),
    ShownField(key="started-at", title="STARTED (UTC)"),
    ShownField(key="finished-at", title="FINISHED (UTC)"),
    ShownField(key="created-at", title="CREATED (UTC)", is_wide=True),
    ShownField(key="deleted-at", title="DELETED (UTC)", is_wide=True),
    ShownField(key="steps", title="SITES"),
)
STEP_FIELDS: Final = (
    ShownField(key="cloud", title="SITE"),
    ShownField(key="stage", title="STAGE"),
    ShownField(key="state", title="STATE"),
    ShownField(key="started-at", title="STARTED (UTC)"),
    ShownField(key="finished-at", title="FINISHED (UTC)"),
    ShownField(key="updated-at", title="CHANGED (UTC)", is_wide=True),
    ShownField(key="details", title="DETAILS"),
)

Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end.")]
Timeout = Annotated[
    float | None, typer.Option(min=0, help="Follow it for so many seconds at most; then the exit code is 5.")
]

ExitOnHold = Annotated[bool, typer.Option("--exit-on-hold", help="Follow it until it is held; then the code is 4.")]

# Between two looks, in seconds.
_INTERVAL_S: Final = 2.0
_ENDS: Final[Mapping[str, ExitCode]] = {
    StrategyState.COMPLETE: ExitCode.DONE,
    StrategyState.FAILED: ExitCode.FAILURES,
    StrategyState.ABORTED: ExitCode.ABORTED,
}


@client_command
def show(
    invocation: Invocation,
    strategy: Annotated[
        int | None, typer.Argument(metavar="ID", help="A strategy of the history; without it the active one.")
    ] = None,
) -> None:
    """Show the strategy: its state, how many sites are in which state, and which are left out."""
    found = active_strategy(invocation.api) if strategy is None else _past(invocation.api, strategy)
    print_record(found, STRATEGY_FIELDS, invocation.form, "id")


@client_command
def steps(
    invocation: Invocation,
    state: Annotated[list[StepState] | None, typer.Option(help="Only sites in this state; may be given again.")] = None,
) -> None:
    """List the sites of the active strategy: stage, state, and why one failed or was skipped."""
    found = invocation.api.read(ACTIVE, "steps", type=TYPE)["strategy-steps"]
    wanted = [step for step in found if not state or step["state"] in state]
    print_records(wanted, STEP_FIELDS, invocation.form, "cloud")


@client_command
def history(
    invocation: Invocation,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
) -> None:
    """List past and present strategies, newest first, with how their sites ended."""
    found = invocation.api.read(HISTORY, limit=limit)["strategies"]
    print_records(found, _HISTORY_FIELDS, invocation.form, "id")


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
    return _past(api, active["id"]) | active


def _past(api: ApiClient, number: int) -> dict[str, Any]:
    found: dict[str, Any] = api.read(HISTORY, str(number))
    return found


@client_command
def watch(
    invocation: Invocation,
    timeout: Timeout = None,
    exit_on_hold: ExitOnHold = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Follow the strategy to its end: a line whenever a site changes its state.

    Exit codes: 0 complete, 3 sites failed, 4 aborted, 5 the time is up, 6 the API did not answer for a minute. Ctrl-C
    ends the look; the strategy goes on.
    """
    strategy = active_strategy(invocation.api)
    watch_strategy(invocation, strategy["id"], timeout_s=timeout, exit_on_hold=exit_on_hold)


def watch_strategy(invocation: Invocation, number: int, *, timeout_s: float | None, exit_on_hold: bool) -> None:
    """Follow a strategy, print it at its end, and end the command.

    Args:
        invocation: The API and the form of the output.

        number: Id of the strategy.

        timeout_s: Longest look; None: to its end.

        exit_on_hold: A hold ends the look too.

    Raises:
        TimeIsUpError: It has not ended in time.
        UnreachableError: The API did not answer for a minute.
        Exit: It has ended; with the exit code.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    before = ""
    while True:
        found = _look(invocation.api, number)
        line = _progress_line(found)
        if line != before:
            say(line)
            before = line
        if found["state"] in _ENDS or found["deleted-at"] or (exit_on_hold and found.get("holds")):
            print_record(found, STRATEGY_FIELDS, invocation.form, "id")
            raise typer.Exit(_ENDS.get(found["state"], ExitCode.ABORTED))
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeIsUpError(
                f"Strategy {number} is {found['state']} after {timeout_s:g} s; it goes on. Follow it: prestager"
                " strategy watch"
            )
        time.sleep(_INTERVAL_S if deadline is None else min(_INTERVAL_S, max(0.0, deadline - time.monotonic())))


def _look(api: ApiClient, number: int) -> dict[str, Any]:
    """Return the strategy, over a restart of the service too."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            found: dict[str, Any] = api.read(HISTORY, str(number))
        except UnreachableError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_INTERVAL_S)
        else:
            return found


def _progress_line(strategy: Record) -> str:
    """Return one line: state, sites that have ended, and how many are in which state."""
    counts: Mapping[str, int] = strategy["steps"]
    ended = sum(counts.get(state, 0) for state in (StepState.COMPLETE, StepState.FAILED, StepState.ABORTED))
    parts = [f"{state} {counts[state]}" for state in StepState if counts.get(state)]
    line = f"Strategy {strategy['id']} {strategy['state']}: {ended} of {sum(counts.values())} ended; {', '.join(parts)}"
    return "; held by ".join([line, *map(hold_sentence, strategy.get("holds", []))])
