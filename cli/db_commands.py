"""`prestager db`: the schema of the database, and its continuation after a restored backup."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from time import monotonic, sleep
from typing import Annotated, Final

import typer

from cli.installation import checked_database, unchecked_database
from db.database import Database
from db.downgrade_checks import database_use, downgrade_losses, downgrade_refusals
from db.errors import RestoreError
from db.migrate import current_revision, head_revision, known_revisions
from db.migrate import downgrade as downgrade_schema
from db.migrate import upgrade as upgrade_schema
from db.restored import Restored, continue_after_restore
from db.unit_of_work import unit_of_work
from service.database import only_instance, schema_error
from service.errors import CommandError, StartError
from service.load_settings import read_settings
from service.settings import Settings

# Seconds between two looks at a database that is waited for.
_LOOK_S: Final = 0.5


def current() -> None:
    """Print the revision of the database and the newest that this program knows."""
    with unchecked_database() as database:
        revision, head = current_revision(database), head_revision()
    typer.echo(f"revision {revision or 'none'}, head {head}")
    if revision != head:
        typer.echo(schema_error(revision) or "Stop the service and run: prestager db upgrade", err=True)


def upgrade() -> None:
    """Bring the schema to the newest revision. Stop the service first."""
    with unchecked_database() as database:
        before = current_revision(database)
        if before not in (None, *known_revisions()):
            raise CommandError(schema_error(before) or "")
        upgrade_schema(database)
        after = current_revision(database)
    if before == after:
        typer.echo(f"The database is at revision {after} already.")
    else:
        typer.echo(f"Upgraded from revision {before or 'none'} to {after}.")


def head() -> None:
    """Print the newest revision that this program knows; asks no database."""
    typer.echo(head_revision())


def downgrade(
    revision: Annotated[str, typer.Argument(help="As an older program's `prestager db head` tells.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether what is listed may be lost.")] = False,  # noqa: FBT002 - an option of the shell
    wait: Annotated[
        float, typer.Option(min=0, max=600, help="Wait so many seconds for the leases of processes that died.")
    ] = 0,
) -> None:
    """Bring the schema down to an older revision, for an older program.

    Refused while the service runs: while a process reports itself, holds a lease, or holds the data directory; and
    while a strategy is not over that the older program would carry out in another way. What only the newer schema can
    hold is lost; it is listed, and asked for unless --yes is given.
    """
    settings = read_settings()
    known = _known(revision)
    with unchecked_database(settings) as database:
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
            _refuse(downgrade_refusals(database, before, revision))
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


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise CommandError(
            "Nothing was changed: the older program would not keep to what goes on. Start this program, do what is"
            " listed, stop it, and try again.",
            reasons,
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


def restored(
    *,
    trust_clock: Annotated[
        bool, typer.Option("--trust-clock", help="The backup has rows of the future, and the clock is right.")
    ] = False,
) -> None:
    """Make a database that was restored from a backup safe to start with. Stop the service first.

    All ids jump above those given after the backup, so that sites accept new runs and followers of events notice; runs
    that had not ended are begun anew at the next start. See docs/operations.md.
    """
    settings = read_settings()
    with unchecked_database(settings) as database:
        if current_revision(database) is None:
            raise CommandError("The database is empty. Restore the backup, then run this again.")
    alone = only_instance(settings.data_dir) if settings.data_dir.is_dir() else nullcontext()
    with alone, checked_database(settings) as database:
        try:
            with unit_of_work(database, as_coordinator=True) as work:
                done = continue_after_restore(work, trust_clock=trust_clock)
        except RestoreError as error:
            raise CommandError(str(error)) from error
    _tell_restored(done)


def _tell_restored(done: Restored) -> None:
    newest = "nothing was in it yet" if done.newest_at is None else f"its newest row is of {done.newest_at:%F %T} UTC"
    typer.echo(f"Ids continue above {done.ids_after}; {newest}.")
    if done.runs_begun_anew:
        typer.echo(f"Runs that had not ended and are begun anew at the next start: {done.runs_begun_anew}.")
    typer.echo(
        "Before you start the service: tokens that were revoked after the backup are in force again, see prestager"
        " token list; a strategy that was being applied goes on."
    )
