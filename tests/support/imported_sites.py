"""Registers sites as the operator's import does, which alone may say that a site is not reached by ssh elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from cli.inventory_import.reading import read_fleet
from cli.inventory_import.registering import ImportRules, register
from db.database import Database
from db.schema import subcloud_groups, subclouds

# Of a site that can be prestaged.
READY: Mapping[str, Any] = {
    "prestager_software_version": "22.12",
    "prestager_management_state": "managed",
    "prestager_availability_status": "online",
}


def import_sites(database: Database, hosts: Mapping[str, Mapping[str, Any]]) -> None:
    """Add sites, or change those that are there, by the variables that an inventory would have."""
    done = register(database, read_fleet(hosts), ImportRules(default_version=None, update=True, dry_run=False))
    assert not done.faults, done.faults
    assert not done.warnings, done.warnings


def import_sites_at(url: str, hosts: Mapping[str, Mapping[str, Any]]) -> None:
    """Do the same in the database at an address."""
    database = Database(url)
    try:
        import_sites(database, hosts)
    finally:
        database.close()


def site_rows(database: Database) -> dict[str, Any]:
    """Return every subcloud by name, with the name of its group."""
    query = select(subclouds, subcloud_groups.c.name.label("group")).join(subcloud_groups)
    with database.read() as connection:
        return {row["name"]: dict(row) for row in connection.execute(query).mappings()}
