"""Groups of commands that import a command when it is run or explained, and no other.

The list of a group's commands, with a summary of each, comes from a table, and the help of a command from a file that
is made from the commands: neither imports one of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cli.service_command import UNUSED, lean_imports

# Package of the commands whose help is stored.
_STORED: Final = "cli."
HELP_FILE: Final = Path(__file__).with_name("help_texts.json")
# Characters in a line of a help at most, and how many a terminal has beside them.
HELP_WIDTH: Final = 78
HELP_MARGIN: Final = 2
_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}
_EXIT_CODES: Final = (
    "Exit codes over HTTP: 0 done, 1 refused, 2 usage, 3 ended with failures, 4 aborted (with --exit-on-hold also:"
    " held), 5 time is up, 6 not reachable."
)


class Where(StrEnum):
    """Machines on which a command works, as the table of the documents says it."""

    ANYWHERE = "any machine that reaches the API"
    EITHER = "any machine that reaches the API; the controller also without it"
    CONTROLLER = "only the controller"
    # It is about the machine, or brings what it needs.
    OWN_MACHINE = "the machine that it is about"


# Modules whose commands work on the controller alone, with the reason as the end of a sentence.
CONTROLLER_ALONE: Final[Mapping[str, str]] = {
    "cli.token_commands": "it gives and ends the access to the API itself",
    "cli.key_commands": "the secret keys are in its files and never leave it",
    "cli.seal_command": "the secret keys are in its files and never leave it",
    "cli.subcloud_commands": "no request over a network may change the keys by which sites are known",
    "cli.inventory_import.command": "what it says of sites, such as where they are, counts more than any request",
    "cli.controller_commands": "it declares a state of the controller itself",
    "cli.db_commands": "it works on the database that the API itself needs",
    "cli.dead_letter_commands": "a dead letter may hold whatever was sent, and is read at the broker",
}
# It says something of the program, and an installer asks it before there is an installation.
_OF_THE_PROGRAM: Final = "cli.db_commands:head"
_EITHER: Final = frozenset({"cli.worker_commands", "cli.reading_commands", "cli.queues_command"})


@dataclass(frozen=True)
class CommandPlace:
    """Place and summary of one command.

    Attributes:
        place: Module and function, as `cli.up_command:up`.

        summary: First sentence of the function's docstring.

        is_service: Whether it runs a process of the service, which loads no library that it does not use.
    """

    place: str
    summary: str
    is_service: bool = False

    @property
    def where(self) -> Where:
        """Machine on which it works, by its module."""
        if self.why:
            return Where.CONTROLLER
        module = self.place.partition(":")[0]
        if module.startswith(_STORED):
            return Where.EITHER if module in _EITHER else Where.OWN_MACHINE
        return Where.ANYWHERE

    @property
    def why(self) -> str:
        """Reason for which it works on the controller alone, as the end of a sentence; empty: there is none."""
        module = self.place.partition(":")[0]
        return "" if self.place == _OF_THE_PROGRAM else CONTROLLER_ALONE.get(module, "")


@dataclass(frozen=True)
class GroupPlace:
    """Summary of a group, and its commands by name."""

    summary: str
    commands: Mapping[str, CommandPlace]


class LazyCommand(TyperCommand):
    """Stands for a command in the list of its group, and prints its stored help."""

    def __init__(self, name: str, place: CommandPlace) -> None:
        super().__init__(
            name=name, short_help=place.summary, callback=None, rich_markup_mode=None, context_settings=_CONTEXT
        )
        self._place = place

    @property
    def has_stored_help(self) -> bool:
        """Whether its help is stored: commands of the client load little, and show theirs themselves."""
        return self._place.place.startswith(_STORED)

    def get_help(self, ctx: Any) -> str:
        """Return the stored help of the command."""
        return stored_help()[ctx.command_path]

    @property
    def _epilog(self) -> str | None:
        return None if self.has_stored_help else _EXIT_CODES

    def load(self) -> Any:
        """Import the command and return it, with its parameters."""
        module, _, name = self._place.place.partition(":")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        with lean_imports(UNUSED if self._place.is_service else ()):
            function = getattr(import_module(module), name)
        if self._place.where is Where.CONTROLLER:
            function = _of_controller(function, self._place.why)
        app.command(self.name, context_settings=_CONTEXT, epilog=self._epilog)(function)
        return get_command(app)


def _of_controller(function: Callable[..., Any], why: str) -> Callable[..., Any]:
    """Return a command that is refused where another machine's API is meant and no installation is here."""

    @wraps(function)
    def command(**given: Any) -> Any:
        # Not before: it loads the settings, as these commands do.
        from cli.installation import require_installation  # noqa: PLC0415

        require_installation(why)
        return function(**given)

    return command


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are run or explained."""

    def __init__(self, name: str, summary: str, places: Mapping[str, CommandPlace | GroupPlace]) -> None:
        super().__init__(
            name=name,
            help=summary,
            short_help=summary,
            epilog=_EXIT_CODES if any(map(_is_over_http, places.values())) else None,
            context_settings=_CONTEXT,
            commands={name: _command(name, place) for name, place in places.items()},
            # Boxes and colours take longer to import than everything else that the help needs.
            rich_markup_mode=None,
        )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments; without any print the help and exit with 2, and for `--version` print that."""
        if ctx.parent is None and args == ["--version"]:
            from messages.process_info import program_version  # noqa: PLC0415 - hardly ever asked

            typer.echo(f"prestager {program_version()}")
            raise typer.Exit
        if not args:
            typer.echo(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and remaining arguments; the command is imported now, unless its help is stored."""
        name, command, rest = super().resolve_command(ctx, args)
        if not isinstance(command, LazyCommand) or _is_stored(f"{ctx.command_path} {name}", rest):
            return name, command, rest
        return name, command.load(), rest


def _is_stored(path: str, arguments: list[str]) -> bool:
    """Return whether the arguments ask for a help that is stored, on a terminal for which its lines are broken."""
    is_wide = shutil.get_terminal_size().columns - HELP_MARGIN >= HELP_WIDTH
    return arguments in (["--help"], ["-h"]) and is_wide and path in stored_help()


@cache
def stored_help() -> Mapping[str, str]:
    """Return the help of each command by its path, such as `prestager db upgrade`; `make documents` writes it."""
    texts: dict[str, str] = json.loads(HELP_FILE.read_text(encoding="utf-8")) if HELP_FILE.exists() else {}
    return texts


def _is_over_http(place: CommandPlace | GroupPlace) -> bool:
    if isinstance(place, GroupPlace):
        return any(map(_is_over_http, place.commands.values()))
    return not place.place.startswith(_STORED)


def _command(name: str, place: CommandPlace | GroupPlace) -> Any:
    if isinstance(place, GroupPlace):
        return LazyGroup(name, place.summary, place.commands)
    return LazyCommand(name, place)
