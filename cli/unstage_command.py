"""`prestager subcloud unstage`: remove a staged release from a site."""

from __future__ import annotations

from time import sleep
from typing import Annotated, Final

import typer
from sqlalchemy import select

from actors.staged_commands import unstage_release
from cli.configuration import read_settings
from cli.errors import CommandError
from cli.seal_command import installation_sealer, read_password
from cli.store import store
from cli.webhook_desk import carry_out
from db.engine import Database
from db.schema import steps
from messages.commands import Command, CommandType
from statemachine.states import StepState, StepType

_LOOK_EVERY_S: Final = 0.5


def unstage(
    ref: Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the subcloud.")],
    release: Annotated[str, typer.Option(help="The release to remove, as MM.mm.")],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return when the removal is under way.")] = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Remove a staged release from a site: what Prestager's playbooks put there, never the release that it runs.

    The password of the site comes from standard input, or from a prompt that shows nothing. A worker of the running
    service does the work. A repeat does no harm.
    """
    settings = read_settings()
    sealer = installation_sealer(settings)
    command = Command(type=CommandType.SUBCLOUD_UNSTAGE, subject=ref, data={"release": release})
    sealed = sealer.seal(read_password(), bound_to=command.id)
    with store(settings) as database:
        subcloud = carry_out(database, unstage_release, command.model_copy(update={"sealed_password": sealed}))
        typer.echo(f"The removal of {release} from {subcloud['name']} is under way.")
        if no_wait:
            return
        typer.echo("Ctrl-C ends the waiting, not the removal.", err=True)
        _wait(database, subcloud["id"], subcloud["name"])
    typer.echo(f"{release} is not staged on {subcloud['name']} any more.")


def _wait(database: Database, subcloud_id: int, name: str) -> None:
    newest = (
        select(steps.c.state, steps.c.details, steps.c.finished_at)
        .where(steps.c.subcloud_id == subcloud_id, steps.c.type == StepType.UNSTAGE)
        .order_by(steps.c.id.desc())
        .limit(1)
    )
    while True:
        with database.read() as connection:
            step = connection.execute(newest).one_or_none()
        if step is None:
            raise CommandError(f"{name} was removed meanwhile.")
        if step.finished_at is not None:
            break
        sleep(_LOOK_EVERY_S)
    if step.state != StepState.COMPLETE:
        raise CommandError(step.details)
