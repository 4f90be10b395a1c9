"""`prestager strategy watch`, and `--watch` of other commands: follow the strategy to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final, NoReturn

import typer

from client.api_client import ApiClient
from client.client_command import Invocation, client_command
from client.drawing import LiveLines
from client.errors import ExitCode, SurroundingsError, TimeIsUpError
from client.event_stream import SNAPSHOT, EventMessage, FollowedEvents
from client.output import Record, print_record, say
from client.status import ended_count, live_lines
from client.strategy_queries import (
    HISTORY,
    STRATEGY_FIELDS,
    active_strategy,
    counts_text,
    end_text,
    hold_sentence,
)
from statemachine.rollout import StepOutcome
from statemachine.states import StepState, StrategyState

Apply = Annotated[bool, typer.Option("--apply", help="Start it at once.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end.")]
Timeout = Annotated[
    float | None, typer.Option(min=0, help="Follow it for so many seconds at most; then the exit code is 5.")
]
ExitOnHold = Annotated[bool, typer.Option("--exit-on-hold", help="Follow it until it is held; then the code is 4.")]

# Between two looks at the counts, in seconds: at least, at most with the stream of events, and without it.
_SHORTEST_S: Final = 0.5
_LONGEST_S: Final = 15.0
_WITHOUT_STREAM_S: Final = 2.0
# Events of what a look has seen already come at most so much later, in seconds.
_LAG_S: Final = 2.0
# And so much later where the stream has to be connected anew.
_RECONNECT_S: Final = 10.0
_INTERRUPTED: Final = 130
_ENDS: Final[Mapping[str, ExitCode]] = {
    StrategyState.COMPLETE: ExitCode.DONE,
    StrategyState.FAILED: ExitCode.FAILURES,
    StrategyState.ABORTED: ExitCode.ABORTED,
}
_FAILED: Final = f".{StepState.FAILED}"
_ABORTED: Final = f".{StepState.ABORTED}"


@client_command
def watch(
    invocation: Invocation,
    timeout: Timeout = None,
    exit_on_hold: ExitOnHold = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Follow the strategy to its end: bars on a terminal, lines elsewhere, and the reason of each failure.

    Exit codes: 0 complete, 3 sites failed, 4 aborted, 5 the time is up, 6 the API did not answer for a minute. Ctrl-C
    ends the look; the strategy goes on.
    """
    strategy = active_strategy(invocation.api)
    watch_strategy(invocation, strategy["id"], timeout_s=timeout, exit_on_hold=exit_on_hold)


def watch_strategy(invocation: Invocation, number: int, *, timeout_s: float | None, exit_on_hold: bool) -> NoReturn:
    """Follow a strategy, print it at its end, and end the command.

    Args:
        invocation: The API and the form of the output.

        number: Id of the strategy.

        timeout_s: Longest look; None: to its end.

        exit_on_hold: A hold ends the look too.

    Raises:
        TimeIsUpError: It has not ended in time.
        UnreachableError: The API did not answer for a minute.
        Exit: It has ended, or Ctrl-C was pressed; with the exit code.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with FollowedEvents(invocation.api, strategy=number) as events:
        look = _Watch(invocation.api, number, events)
        try:
            look.begin()
            while not look.has_ended and not (exit_on_hold and look.strategy.get("holds")):
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeIsUpError(
                        f"Strategy {number} is {look.strategy['state']} after {timeout_s:g} s; it goes on. Follow it:"
                        " prestager strategy watch"
                    )
                look.wait(deadline)
            look.finish()
        except KeyboardInterrupt:
            say(f"Stopped looking. {look.going_on()} Follow it again: prestager strategy watch")
            raise typer.Exit(_INTERRUPTED) from None
    print_record(look.strategy, STRATEGY_FIELDS, invocation.form, "id")
    raise typer.Exit(_ENDS.get(look.strategy["state"], ExitCode.ABORTED))


def check_watch(*, watch: bool, apply: bool) -> None:
    """Refuse `--watch` of a strategy that is created and not started.

    Raises:
        SurroundingsError: `--apply` is missing.
    """
    if watch and not apply:
        raise SurroundingsError("--watch needs --apply: nothing happens before the strategy is applied.")


def report_strategy(
    invocation: Invocation,
    number: int,
    *,
    watch: bool = False,
    timeout_s: float | None = None,
    exit_on_hold: bool = False,
) -> None:
    """Print the active strategy as it is after a change, or follow it to its end.

    The arguments, and with `watch` the errors, are those of `watch_strategy`.
    """
    if watch:
        watch_strategy(invocation, number, timeout_s=timeout_s, exit_on_hold=exit_on_hold)
    print_record(active_strategy(invocation.api), STRATEGY_FIELDS, invocation.form, "id")


class _Watch:
    """Progress of one strategy as it was seen: its counts come from the API, and events say when to read them again."""

    def __init__(self, api: ApiClient, number: int, events: FollowedEvents) -> None:
        self._api = api
        self._number = number
        self._events = events
        self._line = ""
        self._live = LiveLines(sys.stderr)
        self._failed: set[str] = set()
        self.strategy: dict[str, Any] = {}

    def begin(self) -> None:
        """Take the snapshot of the stream, and look for the first time."""
        # All that fails after it is told, and what failed before is counted in the first line.
        self._tell(self._events.take(_WITHOUT_STREAM_S))
        self._look()

    @property
    def has_ended(self) -> bool:
        """Whether the strategy has ended."""
        return self.strategy["state"] in _ENDS or bool(self.strategy["deleted-at"])

    def wait(self, deadline: float | None) -> None:
        """Wait for an event, at the latest until a moment of the monotonic clock, and look again."""
        now = time.monotonic()
        until = now + (_LONGEST_S if self._events.is_connected else _WITHOUT_STREAM_S)
        until = until if deadline is None else min(until, deadline)
        if not self._tell(self._events.take(until - now)):
            return self._look()
        # Many events of one moment are one look.
        rest = self._looked_at + _SHORTEST_S
        while (left := rest - time.monotonic()) > 0:
            self._tell(self._events.take(left))
        return self._look()

    def finish(self) -> None:
        """Tell the failures whose events are on their way when the strategy is seen to have ended."""
        until = time.monotonic() + (_LAG_S if self._events.is_connected else _RECONNECT_S)
        progress = self.strategy["progress"]
        count = progress[StepOutcome.FAILED]
        while not self._events.is_refused and len(self._failed) < count + progress[StepOutcome.CANCELLED]:
            if (left := until - time.monotonic()) <= 0:
                break
            self._tell(self._events.take(left))
        # The strategy as it ended is printed instead.
        self._live.erase()
        if count and not self.strategy["deleted-at"]:
            say("Why sites failed: prestager strategy steps --state failed")

    def going_on(self) -> str:
        """Return the sentence for an operator who stops looking: the strategy goes on."""
        name = f"Strategy {self._number}"
        if self.strategy.get("state") == StrategyState.INITIAL:
            return f"{name} waits to be applied."
        return f"{name} goes on."

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        self.strategy = self._read()
        if self._live.is_live:
            return self._draw()
        line = _progress_line(self.strategy)
        if line != self._line:
            # A newer forecast alone is no news.
            say("; ".join(filter(None, [line, end_text(self.strategy["progress"])])))
            self._line = line
        return None

    def _draw(self) -> None:
        self._live.show(live_lines(self.strategy, self._live.canvas))

    def _read(self) -> dict[str, Any]:
        """Return the strategy, over a restart of the service too."""
        found: dict[str, Any] = self._api.read_over_restart(
            HISTORY, str(self._number), say=self._say, pause_s=_WITHOUT_STREAM_S
        )
        return found

    def _say(self, sentence: str) -> None:
        """Print a sentence, above the lines that stand on a terminal."""
        self._live.erase()
        say(sentence)
        if self.strategy and self._live.is_live:
            self._draw()

    def _tell(self, message: EventMessage | None) -> bool:
        """Print the failures of a message; return whether there is one."""
        if message is None:
            return False
        if message.kind == SNAPSHOT:
            failed = {step["cloud"]: _failure(step) for step in message.data["steps"] if _is_told(step)}
            is_new = message.data["reason"] != "begin"
        else:
            failed = _failures(message)
            is_new = True
        for site, details in failed.items():
            if is_new and site not in self._failed:
                self._say(f"{site}: {details}")
        self._failed |= failed.keys()
        return True


def _is_told(step: Record) -> bool:
    return step.get("outcome") in {StepOutcome.FAILED, StepOutcome.CANCELLED}


def _failure(told: Record) -> str:
    # The details of a cancelled step say themselves that it was cancelled; events have no outcome.
    details = str(told.get("details", ""))
    return details if told.get("outcome") == StepOutcome.CANCELLED else f"failed: {details}"


def _failures(message: EventMessage) -> dict[str, str]:
    """Return the sites that an event says to have failed or to be cancelled, with the reason."""
    if not message.kind.startswith("step."):
        return {}
    if message.kind.endswith(_FAILED):
        return {message.data["subcloud"]: _failure(message.data)}
    if message.kind.endswith(_ABORTED):
        return {one["subcloud"]: one["details"] for one in message.data["steps"] if one.get("details")}
    return {}


def _progress_line(strategy: Record) -> str:
    """Return one line: state, sites that have ended, how many are where, and what holds them."""
    progress: Mapping[str, Any] = strategy["progress"]
    begin = f"Strategy {strategy['id']} {strategy['state']}: "
    line = f"{begin}{ended_count(progress)} of {progress['total']} ended; {counts_text(progress)}"
    blocked = progress["blocked-by"]
    waiting = [f"waits for held {', '.join(blocked)}"] if blocked else []
    return "; ".join([line, *waiting, *(f"held by {hold_sentence(hold)}" for hold in strategy.get("holds", []))])
