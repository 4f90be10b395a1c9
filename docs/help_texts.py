"""Help of each command of `prestager`, as cli/help_texts.json holds it, and where each works, as docs/cli.md says."""  # noqa: INP001 - part of a program

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from typer import Context

from cli.command_group import HELP_WIDTH, CommandPlace, GroupPlace, LazyCommand, LazyGroup, Where
from cli.command_table import COMMANDS, application

_PAGE: Final = Path(__file__).with_name("cli.md")
_HEAD: Final = "| commands | work on | because |\n|---|---|---|\n"


def help_texts() -> str:
    """Return the JSON of the file."""
    root = application()
    texts = dict(_texts(root, Context(root, info_name="prestager", terminal_width=HELP_WIDTH)))
    return json.dumps(texts, ensure_ascii=False, indent=1) + "\n"


def _texts(group: LazyGroup, context: Context) -> Iterator[tuple[str, str]]:
    for name, listed in group.commands.items():
        below = Context(listed, info_name=name, parent=context, terminal_width=HELP_WIDTH)
        if isinstance(listed, LazyGroup):
            yield from _texts(listed, below)
        elif isinstance(listed, LazyCommand) and listed.has_stored_help:
            command: Any = listed.load()
            here = Context(command, info_name=name, parent=context, terminal_width=HELP_WIDTH)
            yield here.command_path, command.get_help(here)


def command_line_page() -> str:
    """Return docs/cli.md with the table of where each command works, in place of the one that it has."""
    before, head, rest = _PAGE.read_text(encoding="utf-8").partition(_HEAD)
    after = rest[rest.index("\n\n") + 1 :]
    return f"{before}{head}{''.join(_rows())}{after}"


def _rows() -> Iterator[str]:
    """Yield the lines of the table: commands that work on the same machine for the same reason are one."""
    found: dict[tuple[Where, str], list[str]] = {}
    for name, place in COMMANDS.items():
        for one, names in _places(name, place).items():
            found.setdefault(one, []).append(names)
    for where in Where:
        for (there, why), names in found.items():
            if there is where:
                yield f"| {', '.join(names)} | {where} | {why} |\n"


def _places(name: str, place: CommandPlace | GroupPlace) -> Mapping[tuple[Where, str], str]:
    if isinstance(place, CommandPlace):
        return {(place.where, place.why): f"`{name}`"}
    found: dict[tuple[Where, str], list[str]] = {}
    for one, command in place.commands.items():
        found.setdefault((command.where, command.why), []).append(one)
    if len(found) == 1:
        return dict.fromkeys(found, f"`{name}`")
    return {one: f"`{name} {'`, `'.join(names)}`" for one, names in found.items()}
