"""The command `prestager`: its subcommands, and how their errors reach the operator."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Final

import typer

from cli.errors import CommandError
from runner.memory_dumps import forbid_memory_dumps

# Where each command is. Only the one that is asked for is read: all of them together take a third longer.
COMMANDS: Final = {
    "up": "cli.up_command:up",
    "api": "cli.up_command:api",
    "coordinator": "cli.up_command:coordinator",
    "worker": "cli.up_command:worker",
    "demo": "cli.demonstration.command:demo",
    "fleet": "cli.fleet_command:fleet",
    "doctor": "cli.doctor.command:doctor",
    "seal": "cli.seal_command:seal",
    "drain": "cli.drain_command:drain",
    "workers": "cli.workers_command:workers",
    "queues": "cli.queues_command:queues",
    "config": "cli.config_commands:app",
    "subcloud": "cli.subcloud_commands:app",
    "token": "cli.token_commands:app",
    "controller": "cli.controller_commands:app",
    "key": "cli.key_commands:app",
    "db": "cli.db_commands:app",
    "dead-letters": "cli.dead_letter_commands:app",
    "webhook": "cli.webhook_commands:app",
}


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command with these subcommands."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        # Its tracebacks show the values of variables, passwords among them.
        pretty_exceptions_enable=False,
        help="Stages a software release on remote sites before the maintenance window.",
    )
    # With it even one command has a name.
    app.callback()(lambda: None)
    with _without_looking_for_garbage():
        for name in names:
            module, _, attribute = COMMANDS[name].partition(":")
            command = getattr(import_module(module), attribute)
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=name)
            else:
                app.command(name)(command)
    return app


def main() -> None:
    """Run the command that the arguments name.

    What a command could not do becomes one sentence and exit code 1; a traceback means a bug.
    """
    # Every command may read passwords and keys.
    forbid_memory_dumps()
    asked = [name for name in sys.argv[1:2] if name in COMMANDS]
    try:
        application(asked or COMMANDS)(prog_name="prestager")
    except CommandError as error:
        _complain(str(error), *error.faults)
    except _start_error() as error:
        _complain(str(error))
    except _database_error() as error:
        # The statement and its values stay out: a value may be private.
        _complain(f"The database cannot be used: {_driver_reason(error)}. See: prestager config show")
    sys.exit(1)


@contextmanager
def _without_looking_for_garbage() -> Iterator[None]:
    """Read modules, which makes hardly any garbage; looking for it takes a sixth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# These two are read when something went wrong, and then the command has read them already.


def _start_error() -> type[Exception]:
    from bootstrap.faults import StartError  # noqa: PLC0415

    return StartError


def _database_error() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from db.unavailable import DatabaseUnavailableError  # noqa: PLC0415

    return DBAPIError, DatabaseUnavailableError


def _driver_reason(error: Exception) -> str:
    from db.unavailable import driver_reason  # noqa: PLC0415

    return driver_reason(error)


def _complain(sentence: str, *faults: str) -> None:
    for fault in faults:
        typer.echo(f"  - {fault}", err=True)
    typer.echo(f"Error: {sentence}", err=True)


if __name__ == "__main__":
    main()
