"""Refuse work that no worker can do: their playbooks cannot be loaded, by what they report."""

from __future__ import annotations

from typing import Final

from actors.coordinator.context import CommandContext
from actors.coordinator.errors import unprocessable
from db.heartbeats import living_processes
from messages.queues import PREPARE, SUBCLOUDS

_QUEUES: Final = (PREPARE, SUBCLOUDS)
# Workers that are named in one sentence.
_MOST_NAMES: Final = 5


def require_playbooks(context: CommandContext, prefix: str = "") -> str | None:
    """Return a warning that names workers that cannot run playbooks while others can; None: all can, or none is alive.

    A worker that has not checked its playbooks yet counts as one that can; one that drains does not count.

    Raises:
        CommandRefusedError: 422; workers of a queue are alive and none of them can run playbooks. `prefix` begins the
            sentence.
    """
    alive = [row for row in living_processes(context.connection) if not row["draining"]]
    for queue in _QUEUES:
        errors = [row["playbooks_error"] for row in alive if queue in row["queues"]]
        if errors and all(errors):
            raise unprocessable(f"{prefix}No worker can run the playbooks. {errors[0]}")
    broken = [row for row in alive if row["playbooks_error"] and not {*_QUEUES}.isdisjoint(row["queues"])]
    if not broken:
        return None
    names = ", ".join(row["name"] for row in broken[:_MOST_NAMES])
    more = f" and {len(broken) - _MOST_NAMES} more" if len(broken) > _MOST_NAMES else ""
    return f"Workers that cannot run the playbooks: {names}{more}. {broken[0]['playbooks_error']}"
