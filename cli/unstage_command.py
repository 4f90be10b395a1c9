"""`prestager subcloud unstage`: remove a staged release from a site."""

from __future__ import annotations

from time import sleep
from typing import Annotated, Final

import typer
from sqlalchemy import func, select

from actors.coordinator.prestage_subcloud import unstage_release
from cli.command_context import carry_out
from cli.database import checked_database
from cli.seal_command import installation_sealer, read_password
from db.database import Database
from db.schema import runs, steps
from messages.commands import Command, CommandType
from service.errors import CommandError
from service.load_settings import read_settings
from statemachine.states import RunOutcome, StepState, StepType

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
    with checked_database(settings) as database:
        subcloud = carry_out(database, unstage_release, command.model_copy(update={"sealed_password": sealed}))
        typer.echo(f"The removal of {release} from {subcloud['name']} is under way.")
        if no_wait:
            return
        typer.echo("Ctrl-C ends the waiting, not the removal.", err=True)
        step_id = _begun(database, subcloud["id"])
        _wait(database, step_id, subcloud["name"])
        removed = _removed(database, step_id)
    if release in removed:
        typer.echo(f"{release} is not staged on {subcloud['name']} any more.")
    else:
        typer.echo(f"Nothing was removed: Prestager's playbooks have nothing of {release} on {subcloud['name']}.")


def _begun(database: Database, subcloud_id: int) -> int | None:
    newest = select(func.max(steps.c.id)).where(steps.c.subcloud_id == subcloud_id, steps.c.type == StepType.UNSTAGE)
    with database.read() as connection:
        return connection.execute(newest).scalar()


def _wait(database: Database, step_id: int | None, name: str) -> None:
    query = select(steps.c.state, steps.c.details, steps.c.finished_at).where(steps.c.id == step_id)
    while True:
        with database.read() as connection:
            step = connection.execute(query).one_or_none()
        if step is None:
            raise CommandError(f"{name} was removed meanwhile.")
        if step.finished_at is not None:
            break
        sleep(_LOOK_EVERY_S)
    if step.state != StepState.COMPLETE:
        raise CommandError(step.details)


def _removed(database: Database, step_id: int | None) -> list[str]:
    """Return the releases that the playbook of a step removed: none where it found nothing of ours."""
    query = (
        select(runs.c.facts)
        .where(runs.c.step_id == step_id, runs.c.outcome == RunOutcome.SUCCEEDED, runs.c.phase == StepState.UNSTAGING)
        .order_by(runs.c.id.desc())
        .limit(1)
    )
    with database.read() as connection:
        facts = connection.execute(query).scalar() or {}
    found = facts.get("removed_releases")
    return found if isinstance(found, list) else []
