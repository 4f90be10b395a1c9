"""`prestager strategy watch`: follow a strategy to its end, and end with an exit code that says how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from client.api_client import PATIENCE_S, ApiClient
from client.client_command import Invocation, client_command
from client.errors import ExitCode, TimeIsUpError, UnreachableError
from client.output import Record, print_record, say
from client.strategy_queries import HISTORY, STRATEGY_FIELDS, active_strategy, hold_sentence
from statemachine.states import StepState, StrategyState

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
