"""Processes of the installation as JSON objects of the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from messages.schemas import Worker
from messages.serializers import Row


def worker_resource(row: Row) -> Worker:
    """Return a process; `row` is one of `db.heartbeats.all_processes`."""
    return {
        "id": row["process"],
        "name": row["name"],
        "host": row["host"],
        "roles": row["role"].split("+"),
        "version": row["version"],
        "queues": row["queues"],
        "slots": row["slots"],
        "running": row["running"],
        "prechecks": row["prechecks"],
        "draining": bool(row["draining"]),
        "releases": row["releases"],
        "feeds": row["feeds"],
        "playbooks-error": row["playbooks_error"],
        "key-ids": row["key_ids"],
        "alive": bool(row["alive"]),
        "started-at": _zoned(row["started_epoch"]),
        "last-seen-at": _zoned(row["seen_epoch"]),
        "last-seen-s": round(row["age_s"], 1),
    }


def _zoned(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")
