"""The command `prestager`: its subcommands, and how their errors reach the operator."""

from __future__ import annotations

import sys

import typer
from sqlalchemy.exc import DBAPIError

from bootstrap import StartError
from cli import (
    config_commands,
    controller_commands,
    db_commands,
    dead_letter_commands,
    subcloud_commands,
    token_commands,
    webhook_commands,
)
from cli.demonstration.command import demo
from cli.doctor.command import doctor
from cli.drain_command import drain
from cli.errors import CommandError
from cli.fleet_command import fleet
from cli.queues_command import queues
from cli.seal_command import seal
from cli.up_command import api, coordinator, up, worker

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show the values of variables, passwords among them.
    pretty_exceptions_enable=False,
    help="Stages a software release on remote sites before the maintenance window.",
)
app.command()(up)
app.command()(api)
app.command()(coordinator)
app.command()(worker)
app.command()(demo)
app.command()(fleet)
app.command()(doctor)
app.command()(seal)
app.command()(drain)
app.command()(queues)
app.add_typer(config_commands.app, name="config")
app.add_typer(subcloud_commands.app, name="subcloud")
app.add_typer(token_commands.app, name="token")
app.add_typer(webhook_commands.app, name="webhook")
app.add_typer(controller_commands.app, name="controller")
app.add_typer(db_commands.app, name="db")
app.add_typer(dead_letter_commands.app, name="dead-letters")


def main() -> None:
    """Run the command that the arguments name.

    What a command could not do becomes one sentence and exit code 1; a traceback means a bug.
    """
    try:
        app(prog_name="prestager")
    except CommandError as error:
        _complain(str(error), *error.faults)
    except StartError as error:
        _complain(str(error))
    except DBAPIError as error:
        # The statement and its values stay out: a value may be private.
        _complain(f"The database cannot be used: {error.orig}. See: prestager config show")
    sys.exit(1)


def _complain(sentence: str, *faults: str) -> None:
    for fault in faults:
        typer.echo(f"  - {fault}", err=True)
    typer.echo(f"Error: {sentence}", err=True)


if __name__ == "__main__":
    main()
