"""The command `prestager`: its subcommands, and how their errors reach the operator."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import Final

import typer
from typer.exceptions import Abort, TyperException

from runner.process_limits import forbid_memory_dumps
from service.error_sentences import error_sentence, usage_sentence

# Where each command is. Only the one that is asked for is read: all of them together take a third longer.
COMMANDS: Final = {
    "up": "cli.up_command:up",
    "api": "cli.up_command:api",
    "coordinator": "cli.up_command:coordinator",
    "worker": "cli.up_command:worker",
    "demo": "cli.demo.command:demo",
    "fleet": "cli.simulate_command:fleet",
    "doctor": "cli.doctor.command:doctor",
    "seal": "cli.seal_command:seal",
    "drain": "cli.worker_commands:drain",
    "undrain": "cli.worker_commands:undrain",
    "workers": "cli.worker_commands:workers",
    "queues": "cli.queues_command:queues",
    "config": "cli.config_commands:app",
    "subcloud": "cli.inventory_import.command:app",
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

    What a command could not do becomes one sentence and exit code 1, and arguments that are wrong one and exit code 2;
    a traceback means a bug.
    """
    # Every command may read passwords and keys.
    forbid_memory_dumps()
    if isinstance(sys.stdout, TextIOWrapper):
        # A name that the terminal cannot show is no reason to show nothing; standard error does the same.
        sys.stdout.reconfigure(errors="backslashreplace")
    asked = [name for name in sys.argv[1:2] if name in COMMANDS]
    try:
        code = application(asked or COMMANDS)(prog_name="prestager", standalone_mode=False)
    except TyperException as error:
        # Without one the help was printed.
        if error.format_message():
            _complain(usage_sentence(error))
        sys.exit(error.exit_code)
    except Abort:
        _complain("Stopped; nothing more was done.")
    except BrokenPipeError:
        # Who read the output has enough; what is left of it must not be written at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        said = error_sentence(error)
        if said is None:
            raise
        sentence, faults = said
        _complain(sentence, *faults)
    else:
        # What a command returns is none of the shell's; an exit code is.
        sys.exit(code if isinstance(code, int) else 0)
    sys.exit(1)


@contextmanager
def _without_looking_for_garbage() -> Iterator[None]:
    """Read modules, which makes hardly any garbage; looking for it takes a sixth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _complain(sentence: str, *faults: str) -> None:
    for fault in faults:
        typer.echo(f"  - {fault}", err=True)
    typer.echo(f"Error: {sentence}", err=True)


if __name__ == "__main__":
    main()
