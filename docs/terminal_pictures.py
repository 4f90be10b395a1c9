"""Draw the pictures of docs/cli.md: `make pictures`.

Commands print fixed answers of the API, docs/terminal_answers.json, by their own functions, as on a terminal of 80 and
of 120 columns; rich makes a picture of that. A test fails when what is committed is not what this draws.
"""  # noqa: INP001 - a program of its own

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from rich.console import Console
from rich.text import Text

from client.api_client import ApiClient
from client.client_command import Invocation
from client.drawing import Canvas
from client.errors import RefusedError
from client.output import OutputFormat
from client.status import live_lines, status
from client.strategy_commands import preview
from client.strategy_queries import NOT_FOUND, active_strategy, problems, show

FOLDER: Final = Path(__file__).with_name("terminal")
COLUMNS: Final = (80, 120)
_ANSWERS: Final = Path(__file__).with_name("terminal_answers.json")
# A font from elsewhere: a picture loads nothing.
_FONT: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


class FixedAnswers:
    """Answers of the API by the path below the version, whatever is asked of it."""

    def read(self, *path: str, **_: str | int) -> Any:
        """Return what is at a path."""
        if "/".join(path) not in fixed_answers():
            raise RefusedError("It is not there.", NOT_FOUND)
        return fixed_answers()["/".join(path)]

    def change(self, _method: str, *path: str, **_: Any) -> Any:
        """Return the answer to a change; only a preview is asked for."""
        return self.read(*path)


@cache
def fixed_answers() -> Mapping[str, Any]:
    """Return the answers by path."""
    answers: dict[str, Any] = json.loads(_ANSWERS.read_text(encoding="utf-8"))
    return answers


def _watch(invocation: Invocation) -> None:
    canvas = Canvas.of(sys.stdout)
    for problem in reversed(fixed_answers()["sw-update-strategy/problems"]["problems"]):
        print(f"{problem['sample']['cloud']}: failed: {problem['sample']['details']}")  # noqa: T201
    print("\n".join(live_lines(active_strategy(invocation.api), canvas)))  # noqa: T201


# What is drawn, by the name of the picture, with the command as its title.
PICTURES: Final[Mapping[str, tuple[str, Callable[[Invocation], None]]]] = {
    "status": ("prestager status", status.__wrapped__),  # type: ignore[attr-defined]
    "watch": ("prestager strategy watch", _watch),
    "preview": (
        "prestager strategy preview --canary 3 --soak 600 --gate --max-parallel 50",
        lambda invocation: preview.__wrapped__.__wrapped__(invocation, {}),  # type: ignore[attr-defined]
    ),
    "problems": ("prestager strategy problems", problems.__wrapped__),  # type: ignore[attr-defined]
    "show": ("prestager strategy show", show.__wrapped__),  # type: ignore[attr-defined]
}


def printed(name: str, columns: int) -> str:
    """Return what a command prints on a terminal of this width, with codes of colours."""
    _, command = PICTURES[name]
    with _terminal(columns) as terminal:
        command(Invocation(api=cast("ApiClient", FixedAnswers()), form=OutputFormat.TABLE))
    return terminal.getvalue()


def picture(name: str, columns: int) -> str:
    """Return the SVG of what a command prints on a terminal of this width."""
    title, _ = PICTURES[name]
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="standard", _environ={}
    )
    for line in Text.from_ansi(printed(name, columns)).split():
        # As a terminal does with a line that is too long for it.
        console.print(*line.divide(range(columns, len(line), columns)), sep="\n", soft_wrap=True)
    drawn = console.export_svg(title=title, unique_id=f"{name}-{columns}")
    return "\n".join(line.rstrip() for line in _FONT.sub("", drawn).splitlines()) + "\n"


class Terminal(io.StringIO):
    """Keeps what is written to a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


@contextmanager
def _terminal(columns: int) -> Iterator[Terminal]:
    before = dict(os.environ)
    os.environ.update(COLUMNS=str(columns), TERM="xterm")
    os.environ.pop("NO_COLOR", None)
    try:
        with redirect_stdout(Terminal()) as terminal, redirect_stderr(terminal):
            yield terminal
    finally:
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        for columns in COLUMNS:
            (FOLDER / f"{name}-{columns}.svg").write_text(picture(name, columns), encoding="utf-8")


if __name__ == "__main__":
    main()
