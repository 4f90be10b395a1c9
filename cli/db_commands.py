"""`prestager db`: the schema of the database."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.configuration import read_settings
from cli.errors import CommandError
from cli.store import opened
from db.migrate import downgrade as downgrade_schema
from db.migrate import upgrade as upgrade_schema
from db.revisions import current_revision, head_revision, known_revisions

app = typer.Typer(no_args_is_help=True, help="Look at and upgrade the database's schema.")


@app.command()
def current() -> None:
    """Print the revision of the database and the newest that this program knows."""
    with opened(read_settings()) as database:
        revision, head = current_revision(database), head_revision()
    typer.echo(f"revision {revision or 'none'}, head {head}")
    if revision != head:
        typer.echo("Stop the service and run: prestager db upgrade", err=True)


@app.command()
def upgrade() -> None:
    """Bring the schema to the newest revision. Stop the service first."""
    with opened(read_settings()) as database:
        before = current_revision(database)
        upgrade_schema(database)
        after = current_revision(database)
    if before == after:
        typer.echo(f"The database is at revision {after} already.")
    else:
        typer.echo(f"Upgraded from revision {before or 'none'} to {after}.")


@app.command()
def head() -> None:
    """Print the newest revision that this program knows; asks no database."""
    typer.echo(head_revision())


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="As an older program's `prestager db head` tells.")],
) -> None:
    """Bring the schema down to an older revision, for an older program. Stop the service first.

    What only the newer schema can hold is lost.
    """
    known = known_revisions()
    if revision not in known:
        raise CommandError(
            f"This program knows no revision {revision}; the older program tells its own: prestager db head"
        )
    with opened(read_settings()) as database:
        before = current_revision(database)
        if before not in known[known.index(revision) :]:
            raise CommandError(
                f"The database is at revision {before or 'none'}, from which this program cannot come down to"
                f" {revision}. Nothing was changed."
            )
        downgrade_schema(database, revision)
    typer.echo(f"Downgraded from revision {before} to {revision}.")
