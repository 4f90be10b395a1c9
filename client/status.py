"""`prestager status`: what happens, what went wrong, how long still and what may be done now, on one screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Annotated, Any, Final

import typer

from client.api_client import PATIENCE_S, ApiClient
from client.client_command import Invocation, client_command
from client.drawing import Canvas, Colour, packed
from client.errors import RefusedError, UnreachableError
from client.output import OutputFormat, Record, print_record, printable, say
from client.strategy_queries import (
    ACTIVE,
    HISTORY,
    NOT_FOUND,
    STRATEGY_FIELDS,
    TYPE,
    counts_text,
    forecast,
    hold_sentence,
    moment_text,
    past_strategy,
    span_text,
)
from statemachine.rollout import HoldKind, StepOutcome, StepProgress
from statemachine.states import ENDED_STRATEGIES, StrategyState

# Problems that the screen lists.
_LISTED: Final = 5
# Between two looks of `--watch`, in seconds.
_PAUSE_S: Final = 2.0
_STATE_COLOURS: Final = {
    StrategyState.COMPLETE: Colour.GREEN,
    StrategyState.FAILED: Colour.RED,
    StrategyState.ABORTED: Colour.YELLOW,
}
_WORDS: Final = (
    (StepOutcome.COMPLETE, "complete"),
    (StepOutcome.SKIPPED, "skipped"),
    (StepOutcome.FAILED, "failed"),
    (StepOutcome.CANCELLED, "cancelled"),
    (StepOutcome.ABORTED, "aborted"),
    (StepProgress.RUNNING, "running"),
    (StepProgress.QUEUED, "waiting for a slot"),
    (StepProgress.PREPARING, "preparing"),
    (StepProgress.PARKED, "parked"),
    (StepProgress.NOT_STARTED, "not started"),
)
_BAR_WIDTH: Final = 60


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Answers of the API that the screen is made of.

    Attributes:
        strategy: The active strategy; None: there is none.

        problems: Its problems, the most frequent first.

        others: Failed sites with a problem that is not listed.

        workers: Processes of the installation.

        health: What the service says of itself; None: it is of an older release that does not.

        past: The newest strategy of the history, where none is active.
    """

    strategy: Record | None
    problems: Sequence[Record] = ()
    others: int = 0
    workers: Sequence[Record] = ()
    health: Record | None = None
    past: Record | None = None


def look(api: ApiClient) -> Seen:
    """Read all that the screen shows.

    Raises:
        RefusedError: The API refused a request.
        UnreachableError: It did not answer.
    """
    active = _if_found(api, ACTIVE, type=TYPE)
    workers = api.read("workers")["workers"]
    health = _if_found(api, "health")
    if active is None:
        newest = api.read(HISTORY, limit=1)["strategies"]
        return Seen(strategy=None, workers=workers, health=health, past=newest[0] if newest else None)
    strategy = past_strategy(api, active["id"]) | active
    progress = strategy["progress"]
    found: Any = {"problems": [], "others": 0}
    if progress[StepOutcome.FAILED] or progress[StepOutcome.CANCELLED]:
        found = _if_found(api, ACTIVE, "problems", type=TYPE) or found
    return Seen(strategy=strategy, problems=found["problems"], others=found["others"], workers=workers, health=health)


def _if_found(api: ApiClient, *path: str, **query: str | int) -> Any:
    try:
        return api.read(*path, **query)
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise
        return None


def status_lines(seen: Seen, canvas: Canvas) -> list[str]:
    """Return the screen; no line is longer than the canvas, but for a command that is longer by itself."""
    strategy = seen.strategy
    if strategy is None:
        return [*_none_lines(seen.past), *_service_lines(seen, canvas), *_next_lines(_next_without(seen.past), canvas)]
    return [
        *_head_lines(strategy, canvas),
        *_progress_lines(strategy["progress"], canvas),
        *_hold_lines(strategy, canvas),
        *_problem_lines(seen, canvas),
        *_service_lines(seen, canvas),
        *_next_lines(next_commands(strategy, seen.problems), canvas),
    ]


def _none_lines(past: Record | None) -> list[str]:
    if past is None:
        return ["There is no strategy, and there never was one."]
    ended = f" at {moment_text(past['finished-at'])} UTC" if past["finished-at"] else ""
    return [
        "There is no strategy.",
        f"The last one was strategy {past['id']}: {past['state']}{ended}; {counts_text(past['progress'])}.",
    ]


def _head_lines(strategy: Record, canvas: Canvas) -> list[str]:
    since = strategy["started-at"] or strategy["created-at"]
    word = "since" if strategy["started-at"] else "created"
    stage = strategy["progress"].get("stage")
    state = strategy["state"].upper()
    lines = packed(
        [
            f"Strategy {strategy['id']}",
            printable(strategy["extra-args"]["prestage-software-version"]),
            state,
            printable(f"by {strategy['requested-by']}") if strategy["requested-by"] else "",
            f"{word} {moment_text(since)} UTC",
            f"stage {stage['number']} of {stage['last']}" if stage and stage["last"] > 1 else "",
        ],
        canvas.columns,
    )
    painted = canvas.paint(state, Colour.BOLD, *filter(None, [_STATE_COLOURS.get(strategy["state"])]))
    return [lines[0].replace(state, painted, 1), *lines[1:]]


def live_lines(strategy: Record, canvas: Canvas) -> list[str]:
    """Return what a watch keeps in sight: bars of the whole and of the present stage, counts, end and holds."""
    return [
        *_head_lines(strategy, canvas),
        *_progress_lines(strategy["progress"], canvas, has_stage=True),
        *_hold_lines(strategy, canvas),
    ]


def _bars(progress: Record, canvas: Canvas, *, has_stage: bool) -> list[str]:
    """Return the bar of a strategy: what is staged or needs nothing, then what is not, then what is open.

    With `has_stage` that of its first open stage comes below it, if there is more than one.
    """
    good = progress[StepOutcome.COMPLETE] + progress[StepOutcome.SKIPPED]
    bad = progress[StepOutcome.FAILED] + progress[StepOutcome.CANCELLED]
    parts = [(good, Colour.GREEN), (bad, Colour.RED), (progress[StepOutcome.ABORTED], Colour.YELLOW)]
    rows = [(parts, progress["total"], f"{ended_count(progress)}/{progress['total']}")]
    stage = progress.get("stage") if has_stage else None
    if stage and stage["last"] > 1:
        figures = f"{stage['ended']}/{stage['total']} of stage {stage['number']}"
        rows.append(([(stage["ended"], Colour.BOLD)], stage["total"], figures))
    width = min(_BAR_WIDTH, canvas.columns - max(len(figures) for *_, figures in rows) - 6)
    return [f"  {canvas.bar(parts, total, width)}   {figures}" for parts, total, figures in rows]


def ended_count(progress: Record) -> int:
    """Return how many sites have ended, however."""
    return sum(int(progress[word]) for word in StepOutcome)


def _progress_lines(progress: Record, canvas: Canvas, *, has_stage: bool = False) -> list[str]:
    counts = [f"{name} {progress[word]}" for word, name in _WORDS if progress[word]]
    return [
        *_bars(progress, canvas, has_stage=has_stage),
        *(f"  {line}" for line in packed(counts, canvas.columns - 2, indent="")),
        *(f"  {line}" for line in packed(forecast(progress), canvas.columns - 2, indent="")),
    ]


def _hold_lines(strategy: Record, canvas: Canvas) -> list[str]:
    told = [f"Held by {hold_sentence(hold)}" for hold in strategy["holds"]]
    if blocking := strategy["progress"]["blocked-by"]:
        told.append(f"The stage waits for held {', '.join(blocking)}")
    if strategy["limit-reached"]:
        told.append(f"Ended by a limit: {strategy['limit-reached']}")
    return [canvas.paint(line, Colour.YELLOW) for one in told for line in _broken(printable(one), canvas.columns)]


def _problem_lines(seen: Seen, canvas: Canvas) -> list[str]:
    if not seen.problems:
        return []
    listed = seen.problems[:_LISTED]
    count = sum(one["count"] for one in seen.problems) + seen.others
    rows = [
        (str(one["count"]), one["class"], one["phase"].removeprefix("prestaging-").removeprefix("prestage-"))
        for one in listed
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [canvas.paint(f"Failures ({count})", Colour.BOLD)]
    for row, problem in zip(rows, listed, strict=True):
        number, kind, phase = row
        begin = f"  {number.rjust(widths[0])}  {kind.ljust(widths[1])}  {phase.ljust(widths[2])}  "
        tail = f"{span_text(problem['first'], problem['last'])} UTC"
        such = printable(f"such as {problem['clouds'][0]}, {tail}")
        text = printable(problem["text"])
        if canvas.is_endless:
            lines.append(f"{begin}{text}  {such}")
            continue
        told = [line for one in (text, such) for line in wrap(one, canvas.columns - len(begin), break_on_hyphens=False)]
        lines += [f"{' ' * len(begin) if number else begin}{line}" for number, line in enumerate(told)]
    hidden = count - sum(one["count"] for one in listed)
    return [*lines, *([f"  and {hidden} for rarer reasons"] if hidden else [])]


def _service_lines(seen: Seen, canvas: Canvas) -> list[str]:
    workers = [one for one in seen.workers if one["slots"] is not None]
    alive = [one for one in workers if one["alive"]]
    draining = sum(one["draining"] for one in alive)
    parts = [
        f"Workers {len(alive)} of {len(workers)}",
        f"slots {sum(one['running'] for one in alive)}/{sum(one['slots'] for one in alive)}",
        f"draining {draining}" if draining else "",
        *_health_parts(seen.health),
    ]
    faults = [] if alive else ["No worker is alive, so no site starts. Look: prestager workers"]
    faults += [
        printable(f"{one['name']} starts no playbooks: {one['playbooks-error']}")
        for one in alive
        if one["playbooks-error"]
    ]
    return [
        *packed(parts, canvas.columns),
        *(canvas.paint(line, Colour.RED) for fault in faults for line in _broken(fault, canvas.columns)),
    ]


def _health_parts(health: Record | None) -> list[str]:
    if health is None:
        return []
    letters = health.get("dead-letters")
    return [] if letters is None else [f"dead letters {letters}"]


def next_commands(strategy: Record, problems: Sequence[Record]) -> list[str]:
    """Return the commands that are of use now, the likeliest first; only such that the service allows."""
    legal, number = strategy["commands"], strategy["id"]
    wanted: list[str] = []
    if strategy["holds"] and "resume" in legal:
        is_budget = any(hold["kind"] == HoldKind.BUDGET for hold in strategy["holds"])
        wanted.append(f"prestager strategy resume{' --allow-failures N' if is_budget else ''}")
    if "apply" in legal:
        wanted += ["prestager strategy apply --watch", "prestager strategy preview"]
    if problems:
        wanted += ["prestager strategy problems", f"prestager step explain {problems[0]['clouds'][0]}"]
    if problems and "retry" in legal:
        wanted.append(f"prestager strategy retry --problem {problems[0]['id']} --apply")
    if strategy["state"] not in ENDED_STRATEGIES and strategy["state"] != StrategyState.INITIAL:
        wanted.append("prestager strategy watch")
    if "pause" in legal and not strategy["holds"]:
        wanted.append("prestager strategy pause")
    if "delete" in legal:
        wanted.append("prestager strategy delete")
    if strategy["state"] in ENDED_STRATEGIES:
        wanted.append(f"prestager strategy show {number}")
    return wanted


def _next_without(past: Record | None) -> list[str]:
    wanted = ["prestager strategy preview", "prestager strategy create"]
    return [*wanted, *(["prestager strategy history"] if past else ["prestager subcloud list"])]


def _next_lines(commands: Sequence[str], canvas: Canvas) -> list[str]:
    lines = packed(commands, canvas.columns - 6, gap=" | ", indent="")
    return [f"{'      ' if number else 'Next: '}{printable(line)}" for number, line in enumerate(lines)]


def _broken(text: str, columns: int) -> list[str]:
    return wrap(text, columns, break_on_hyphens=False, break_long_words=False, subsequent_indent="  ")


@client_command
def status(
    invocation: Invocation,
    watch: Annotated[  # noqa: FBT002 - an option of the shell
        bool, typer.Option("--watch", help="Show it anew every 2 s until the strategy has ended or Ctrl-C is pressed.")
    ] = False,
) -> None:
    """Show on one screen what happens, what went wrong, how long it still takes and what may be done now."""
    seen = look(invocation.api)
    _show(seen, invocation.form, is_anew=watch)
    while watch and seen.strategy is not None and seen.strategy["state"] not in ENDED_STRATEGIES:
        time.sleep(_PAUSE_S)
        before, seen = seen, _look_again(invocation.api)
        if sys.stdout.isatty() or seen != before:
            _show(seen, invocation.form, is_anew=True)


def _look_again(api: ApiClient) -> Seen:
    """Read all that the screen shows, over a restart of the service too."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return look(api)
        except UnreachableError as error:
            if time.monotonic() >= deadline:
                raise
            say(f"{error} Looking again for {PATIENCE_S:.0f} s.")
            time.sleep(_PAUSE_S)


def _show(seen: Seen, form: OutputFormat, *, is_anew: bool) -> None:
    if form not in {OutputFormat.TABLE, OutputFormat.WIDE}:
        record = asdict(seen) if form in {OutputFormat.JSON, OutputFormat.JSONL} else (seen.strategy or seen.past or {})
        print_record(record, STRATEGY_FIELDS, form, "id")
        return
    canvas = Canvas.of(sys.stdout)
    if is_anew and not canvas.is_endless:
        # The screen from its first line on; what scrolled out of it stays.
        sys.stdout.write("\x1b[H\x1b[J")
    typer.echo("\n".join(status_lines(seen, canvas)))
    sys.stdout.flush()
