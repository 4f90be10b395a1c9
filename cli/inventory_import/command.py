"""`prestager subcloud import`: register the sites of a file or of a dcmanager."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.installation import checked_database
from cli.inventory_import.dcmanager import read_dcmanager
from cli.inventory_import.inventory_file import Hosts, read_hosts
from cli.inventory_import.reading import read_fleet
from cli.inventory_import.registering import ImportRules, Registered, register
from service.errors import CommandError
from service.load_settings import read_settings

# More lines than this hide the first, which is where an operator starts.
_SHOWN_FAULTS = 100


def import_fleet(  # noqa: PLR0913, PLR0917 - typer's options
    file: Annotated[
        Path | None,
        typer.Argument(help="Ansible inventory (YAML or INI), or a list with `name` or `name address` a line."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge the whole file and change nothing.")] = False,  # noqa: FBT002 - an option of the shell
    update: Annotated[bool, typer.Option("--update", help="Change sites and groups that are registered.")] = False,  # noqa: FBT002 - an option of the shell
    from_dcmanager: Annotated[
        str | None, typer.Option(help="Read a dcmanager instead of a file, such as http://192.168.204.2:8119/v1.0")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with a Keystone token for that dcmanager.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Variable that playbooks of your own use, or a pattern with *; repeatable."),
    ] = None,
) -> None:
    """Register all sites of a file, or none of them when anything in it is wrong.

    The service may run meanwhile. Host variables that say what Prestager has to know: prestager_group,
    prestager_software_version, prestager_management_state (managed, unmanaged), prestager_availability_status
    (online, offline), prestager_system_mode (simplex, duplex, duplex-direct), prestager_oam_address,
    prestager_deploy_status, prestager_management_alarms, prestager_description, prestager_location,
    prestager_labels (a mapping of keys to values), prestager_host_key (the site's SSH host keys, one a line or as a
    list); for a group that is new: prestager_group_apply_type (serial, parallel), prestager_group_max_parallel,
    prestager_group_description. Of the others those that Ansible or Prestager's playbooks use are kept for runs
    (ansible_*, prestage_*, site_*, platform_backup_dir), and those that --keep names; never secrets.
    """
    settings = read_settings()
    source, hosts = _hosts(file, from_dcmanager, token_file)
    content = read_fleet(hosts, keep or ())
    rules = ImportRules(default_version=settings.release, update=update, dry_run=dry_run)
    with checked_database(settings) as database:
        done = register(database, content, rules)
    for warning in done.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    if done.faults:
        raise CommandError(f"Nothing was imported; correct {source} and import it again.", _shown(done.faults))
    typer.echo(("Would be: " if dry_run else "") + _summary(done))


def _hosts(file: Path | None, dcmanager: str | None, token_file: Path | None) -> tuple[str, Hosts]:
    """Return the name of what is read, and its hosts."""
    if dcmanager is not None and file is None and token_file is not None:
        return "that at dcmanager", read_dcmanager(dcmanager, token_file)
    if file is not None and dcmanager is None and token_file is None:
        return str(file), read_hosts(file)
    raise CommandError("Give a file, or --from-dcmanager together with --token-file.")


def _shown(faults: list[str]) -> list[str]:
    if len(faults) <= _SHOWN_FAULTS:
        return faults
    return [*faults[:_SHOWN_FAULTS], f"and {len(faults) - _SHOWN_FAULTS} more."]


def _summary(done: Registered) -> str:
    return (
        f"{done.added} subclouds added, {done.updated} updated, {done.unchanged} unchanged;"
        f" {done.groups_added} groups added."
    )
