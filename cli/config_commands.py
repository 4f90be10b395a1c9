"""`prestager config`: are the settings right, and what are they."""

from __future__ import annotations

import os
from typing import Final

import typer

from cli.dcmanager_import.command import import_dcmanager
from cli.tables import print_table
from service.errors import CommandError
from service.load_settings import examine_settings, read_settings, shown_settings, unknown_variables
from service.playbook_load import playbook_load_error
from service.startup_checks import doubts, start_faults

# Begins what is wrong with the files of the playbooks.
_PLAYBOOKS: Final = "PRESTAGER_PLAYBOOKS_DIR "

app = typer.Typer(no_args_is_help=True, help="Check and show the settings.")
app.command("import-dcmanager")(import_dcmanager)


@app.command()
def check() -> None:
    """List everything that is wrong with the settings and the playbooks; exit with 1 if anything is."""
    settings, faults = examine_settings()
    faults += unknown_variables(os.environ)
    if settings is not None:
        # What has a fault already has its default here, which is no news.
        named = {fault.split()[0] for fault in faults}
        found = start_faults(settings)
        if not any(fault.startswith(_PLAYBOOKS) for fault in found):
            found += filter(None, [playbook_load_error(settings)])
        faults += [fault for fault in found if fault.split()[0] not in named]
        for doubt in doubts(settings):
            typer.echo(f"Warning: {doubt}", err=True)
    if faults:
        raise CommandError("The settings are not right; correct what is listed and check again.", faults)
    typer.echo("The settings are right.")


@app.command()
def show() -> None:
    """Print every setting and where it comes from; secrets are hidden."""
    rows = [(shown.variable, shown.value, shown.source) for shown in shown_settings(read_settings())]
    print_table(("SETTING", "VALUE", "FROM"), rows)
