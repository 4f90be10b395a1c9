"""`prestager db downgrade`: the schema down to an older revision, refused while anything uses the database."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep
from typing import Annotated, Final

import typer

from cli.database import opened
from db.database import Database
from db.downgrade_checks import database_use, downgrade_losses
from db.migrate import current_revision, known_revisions
from db.migrate import downgrade as downgrade_schema
from service.database import only_instance
from service.errors import CommandError, StartError
from service.load_settings import read_settings
from service.settings import Settings

# Seconds between two looks at a database that is waited for.
_LOOK_S: Final = 0.5


def downgrade(
    revision: Annotated[str, typer.Argument(help="As an older program's `prestager db head` tells.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether what is listed may be lost.")] = False,  # noqa: FBT002 - an option of the shell
    wait: Annotated[
        float, typer.Option(min=0, max=600, help="Wait so many seconds for the leases of processes that died.")
    ] = 0,
) -> None:
    """Bring the schema down to an older revision, for an older program.

    Refused while the service runs: while a process reports itself, holds a lease, or holds the data directory. What
    only the newer schema can hold is lost; it is listed, and asked for unless --yes is given.
    """
    settings = read_settings()
    known = _known(revision)
    with opened(settings) as database:
        before = current_revision(database)
        if before == revision:
            typer.echo(f"The database is at revision {revision} already.")
            return
        if before is None or before not in known[known.index(revision) :]:
            raise CommandError(
                f"The database is at revision {before or 'none'}, from which this program cannot come down to"
                f" {revision}. Nothing was changed."
            )
        with _alone(settings):
            _wait_until_unused(database, wait)
            _ask(downgrade_losses(database, before, revision), yes=yes)
            # A process may have been started while the operator thought about it.
            _wait_until_unused(database, 0)
            downgrade_schema(database, revision)
    typer.echo(f"Downgraded from revision {before} to {revision}.")


def _known(revision: str) -> list[str]:
    known = known_revisions()
    if revision not in known:
        raise CommandError(
            f"This program knows no revision {revision}; the older program tells its own: prestager db head"
        )
    return known


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the data directory, so that no embedded service starts meanwhile; where there is none, nothing runs."""
    with ExitStack() as held:
        if settings.data_dir.is_dir():
            try:
                held.enter_context(only_instance(settings.data_dir))
            except StartError as error:
                raise _in_use([f"A running service holds the data directory {settings.data_dir}."]) from error
        yield


def _wait_until_unused(database: Database, wait_s: float) -> None:
    deadline, first = monotonic() + wait_s, database_use(database)
    use = first
    while use.signs:
        if monotonic() >= deadline or first.goes_on_in(use):
            raise _in_use(use.signs)
        sleep(_LOOK_S)
        use = database_use(database)


def _in_use(signs: Sequence[str]) -> CommandError:
    return CommandError(
        "The database is in use and stays as it is. Stop the service on every machine; after a process was killed, try"
        " again a minute later, or give --wait 60.",
        [*signs],
    )


def _ask(losses: Sequence[str], *, yes: bool) -> None:
    for loss in losses:
        typer.echo(f"  - lost: {loss}", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("Nothing was changed: give --yes if what is listed may be lost.")
    if not typer.confirm("Bring the schema down?" if losses else "Nothing is lost. Bring the schema down?", err=True):
        raise CommandError("Nothing was changed.")
