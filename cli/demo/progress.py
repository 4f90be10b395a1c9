"""Shows how a strategy gets on: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from statemachine.states import TERMINAL_STEPS, StepState

Steps = Sequence[Mapping[str, Any]]


class ProgressView(Protocol):
    """Shows the steps of a strategy as they change; a context that lasts as long as the strategy."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *reason: object) -> None:
        """Leave what is shown last."""

    def show(self, steps: Steps) -> None:
        """Show the steps as they are now."""


# Characters in a line where the output is no terminal: lines for programs are not wrapped.
_ENDLESS: Final = 10_000


def output() -> Console:
    """Return standard output; wide where it is no terminal. What is printed is text as it is, never markup."""
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=_ENDLESS)


def progress_view(console: Console) -> ProgressView:
    """Return the view that suits where the output goes."""
    return LiveView(console) if console.is_terminal else LineView(console)


class LineView:
    """Prints one line for each step that changes its state."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Do nothing: lines stay."""

    def show(self, steps: Steps) -> None:
        """Print changes since the last call; starting states are not printed."""
        for step in steps:
            before, now = self._states.get(step["cloud"]), step["state"]
            self._states[step["cloud"]] = now
            if now not in (before, StepState.INITIAL):
                details = f": {step['details']}" if step["details"] else ""
                self._console.print(f"stage {step['stage']}  {step['cloud']}  {now}{details}")


class LiveView:
    """Draws one bar per stage, the number of sites in each state, and the last failure."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("stage {task.fields[number]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[working]}", markup=False),
            console=console,
        )
        self._tasks: dict[int, TaskID] = {}
        self._counts = Text()
        self._failure = Text(style="red")
        self._live = Live(Group(self._bars, self._counts, self._failure), console=console, refresh_per_second=5)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        """Draw the last time."""
        self._live.stop()

    def show(self, steps: Steps) -> None:
        """Draw the steps as they are now."""
        for number in sorted({step["stage"] for step in steps}):
            self._show_stage(number, [step for step in steps if step["stage"] == number])
        counts = Counter(step["state"] for step in steps)
        self._counts.plain = "  ".join(f"{state} {count}" for state, count in sorted(counts.items()))
        failed = [step for step in steps if step["state"] == StepState.FAILED]
        if failed:
            last = max(failed, key=lambda step: str(step["finished-at"]))
            self._failure.plain = f"last failure: {last['cloud']}: {last['details']}"

    def _show_stage(self, number: int, steps: Steps) -> None:
        if number not in self._tasks:
            self._tasks[number] = self._bars.add_task("", total=len(steps), start=False, number=number, working="")
        task = self._tasks[number]
        done = sum(step["state"] in TERMINAL_STEPS for step in steps)
        if any(step["state"] != StepState.INITIAL for step in steps) and not self._bars.tasks[task].started:
            self._bars.start_task(task)
        working = [
            f"{step['cloud']} {step['state']}"
            for step in steps
            if step["state"] not in {StepState.INITIAL, *TERMINAL_STEPS}
        ]
        self._bars.update(task, completed=done, working=", ".join(working))
        if done == len(steps):
            self._bars.stop_task(task)
