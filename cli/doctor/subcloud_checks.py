"""Subclouds that cannot be prestaged because of what an earlier release let in. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import select

from cli.doctor.finding import Finding, warn
from db.database import Database
from db.schema import subclouds
from messages.site_addresses import is_reserved_host_name, rename_text

# Subclouds that are named in one finding.
_MOST_NAMES: Final = 20


def subcloud_findings(database: Database) -> Iterator[Finding]:
    """Warn of reserved names, and of connection variables that an upgrade took out."""
    query = select(subclouds.c.name, subclouds.c.removed_variables).order_by(subclouds.c.name)
    with database.read() as connection:
        removed = {row.name: row.removed_variables for row in connection.execute(query)}
    yield from (warn("subclouds", rename_text(name)) for name in removed if is_reserved_host_name(name))
    for variables in sorted({tuple(one) for one in removed.values() if one}):
        names = [name for name, one in removed.items() if tuple(one) == variables]
        yield warn(
            "subclouds",
            f"The upgrade took out {', '.join(variables)} of {_listed(names)}: who had set them is not known. Until"
            " they are imported again (prestager subcloud import --update), these are not prestaged.",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"
