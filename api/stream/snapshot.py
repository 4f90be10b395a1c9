"""Snapshot of strategy, steps and runs: the first message of a stream, repeated when a listener cannot resume."""

from __future__ import annotations

from sqlalchemy import Connection

from api.stream.frames import Filter, frame
from db import events as happenings
from db import live_output as live
from db import read_queries as listing
from messages.event_types import Snapshot
from messages.serializers import step_resource, strategy_resource


def snapshot(connection: Connection, wanted: Filter, reason: str) -> tuple[int, bytes]:
    """Return the number of the last event that is surely in it, and the message; `reason` says why it is sent.

    It may show a little more than that: whoever applies the events after that number comes to the same.
    """
    # Before everything else: what is committed meanwhile is told once more rather than never.
    last = happenings.newest_id(connection)
    strategy = listing.active_strategy(connection)
    if strategy is not None and wanted.strategy_id not in (None, strategy["id"]):
        strategy = None
    data: Snapshot = {
        "reason": reason,
        "strategy": None if strategy is None else strategy_resource(strategy, "read"),
        "steps": [
            step_resource(row)
            for row in (listing.active_steps(connection) if strategy is not None else [])
            if wanted.subcloud in (None, row["subcloud_name"])
        ],
        "runs": [
            {"run": run_id, **about}
            for run_id, about in live.running_runs(connection)
            if wanted.strategy_id in (None, about["strategy"]) and wanted.subcloud in (None, about["subcloud"])
        ],
        "subclouds": [
            {
                "name": row["name"],
                "management-state": row["management_state"],
                "availability-status": row["availability_status"],
                "prestage-status": row["prestage_status"],
            }
            for row in listing.all_subclouds(connection)
            if wanted.subcloud in (None, row["name"])
        ],
    }
    return last, frame("snapshot", data, event_id=last)
