"""Help of each command of `prestager`, as cli/help_texts.json holds it."""  # noqa: INP001 - part of a program

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from typer import Context

from cli.command_group import HELP_WIDTH, LazyCommand, LazyGroup
from cli.command_table import application


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
