"""`prestager db`: the schema of the database, and what follows a restored backup."""

from __future__ import annotations

import typer

from cli.database import opened
from cli.downgrade_command import downgrade
from cli.restored_command import restored
from db.migrate import current_revision, head_revision, known_revisions
from db.migrate import upgrade as upgrade_schema
from service.database import schema_error
from service.errors import CommandError
from service.load_settings import read_settings

app = typer.Typer(no_args_is_help=True, help="Look at and upgrade the schema; go on after a restore.")


@app.command()
def current() -> None:
    """Print the revision of the database and the newest that this program knows."""
    with opened(read_settings()) as database:
        revision, head = current_revision(database), head_revision()
    typer.echo(f"revision {revision or 'none'}, head {head}")
    if revision != head:
        typer.echo(schema_error(revision) or "Stop the service and run: prestager db upgrade", err=True)


@app.command()
def upgrade() -> None:
    """Bring the schema to the newest revision. Stop the service first."""
    with opened(read_settings()) as database:
        before = current_revision(database)
        if before not in (None, *known_revisions()):
            raise CommandError(schema_error(before) or "")
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


app.command()(downgrade)
app.command()(restored)
