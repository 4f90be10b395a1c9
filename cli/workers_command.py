"""`prestager workers`: the processes of the installation, alive and lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import typer

from cli.database import store
from cli.tables import print_table
from db.heartbeats import all_processes
from db.read_queries import Row
from service.load_settings import read_settings

_HEADERS: Final = (
    "NAME",
    "ROLE",
    "HOST",
    "STATE",
    "RUNNING",
    "PRECHECKS",
    "VERSION",
    "RELEASES",
    "FEEDS",
    "KEYS",
    "PLAYBOOKS",
    "SEEN",
)
_NOT_LOOKED: Final = "?"


def workers() -> None:
    """Show every process of the installation as it reported itself last; reports come every 10 s.

    A process that stopped in order is not shown; one that died is `lost` and is forgotten after a day.
    """
    with store(read_settings()) as database, database.read() as connection:
        rows = all_processes(connection)
    if not rows:
        typer.echo("No process has reported itself. Start one: prestager up", err=True)
        return
    print_table(_HEADERS, [_line(row) for row in rows])


def _line(row: Row) -> tuple[str, ...]:
    is_worker = row["slots"] is not None
    return (
        row["name"],
        row["role"],
        row["host"],
        _state(row),
        f"{row['running']} of {row['slots']}" if is_worker else "",
        str(row["prechecks"]) if is_worker else "",
        row["version"],
        _listed(row["releases"]),
        _listed(row["feeds"]),
        _listed(row["key_ids"]),
        (_NOT_LOOKED if row["playbooks_error"] is None else row["playbooks_error"] or "ok") if is_worker else "",
        f"{max(0.0, row['age_s']):.0f} s ago",
    )


def _state(row: Row) -> str:
    if not row["alive"]:
        return "lost"
    return "draining" if row["draining"] else "alive"


def _listed(values: Sequence[str] | None) -> str:
    return _NOT_LOOKED if values is None else ",".join(values)
