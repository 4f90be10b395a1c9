"""`prestager db restored`: what a database needs after it was restored from a backup."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

import typer

from cli.database import opened, store
from db.migrate import current_revision
from db.restored import Restored, RestoreError, continue_after_restore
from db.unit_of_work import unit_of_work
from service.database import only_instance
from service.errors import CommandError
from service.load_settings import read_settings


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
    with opened(settings) as database:
        if current_revision(database) is None:
            raise CommandError("The database is empty. Restore the backup, then run this again.")
    alone = only_instance(settings.data_dir) if settings.data_dir.is_dir() else nullcontext()
    with alone, store(settings) as database:
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
