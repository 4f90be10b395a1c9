"""Rows of processes, releases, webhooks and the audit as the JSON objects of the wire."""

from __future__ import annotations

from collections.abc import Iterable

from messages.process_schemas import AuditEntry, KnownCaller, Release, WebhookState, Worker
from messages.serializers import Row, zoned_moment
from messages.webhook_schemas import Delivery, Webhook


def audit_resource(row: Row) -> AuditEntry:
    """Return one entry of the audit."""
    return {
        "id": row["id"],
        "at": zoned_moment(row["at"]),
        "caller": row["caller"],
        "origin": row["origin"] or None,
        "user-id": row["user_id"],
        "command-id": row["command_id"],
        "type": row["type"],
        "subject": row["subject"],
        "status": row["status"],
        "detail": row["detail"],
    }


def webhook_resource(row: Row) -> Webhook:
    """Return a webhook."""
    return {
        "id": row["id"],
        "name": row["name"],
        "url": row["url"],
        "types": row["types"],
        "subcloud": row["subcloud"],
        "enabled": bool(row["enabled"]),
        "disabled-at": zoned_moment(row["disabled_at"]),
        "disabled-reason": row["disabled_reason"] or None,
        "failing-since": zoned_moment(row["failing_since"]),
        "old-secret-until": zoned_moment(row["old_until"]),
        "created-at": zoned_moment(row["created_at"]),
        "updated-at": zoned_moment(row["updated_at"]),
    }


def delivery_resource(row: Row) -> Delivery:
    """Return one entry of the delivery log."""
    return {
        "id": row["id"],
        "webhook-id": row["webhook_id"],
        "event-id": row["event_id"],
        "type": row["type"],
        "subject": row["subject"],
        "cause": row["cause"],
        "state": row["state"],
        "attempts": row["attempts"],
        "next-attempt-at": zoned_moment(row["next_attempt_at"]),
        "status": row["last_status"],
        "error": row["error"] or None,
        "duration-s": row["duration_s"],
        "attempted-at": zoned_moment(row["attempted_at"]),
        "created-at": zoned_moment(row["created_at"]),
        "finished-at": zoned_moment(row["finished_at"]),
    }


def caller_resource(name: str, roles: Iterable[str], project: str | None) -> KnownCaller:
    """Return a caller."""
    return {"name": name, "roles": sorted(roles), "project": project}


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
        "started-at": zoned_moment(row["started_epoch"]),
        "last-seen-at": zoned_moment(row["seen_epoch"]),
        "last-seen-s": round(row["age_s"], 1),
    }


def release_resource(release: str, workers: Iterable[Row]) -> Release:
    """Return a release of the controller; `workers` are rows of `db.heartbeats.living_processes`."""
    seeing = [row for row in workers if release in row["releases"]]
    return {
        "release": release,
        "workers": sorted({row["name"] for row in seeing}),
        "has-feed": any(release in (row["feeds"] or ()) for row in seeing),
    }


def webhook_state(row: Row) -> WebhookState:
    """Return whether a webhook works, without its address, which may hold a secret."""
    return {
        "id": row["id"],
        "name": row["name"],
        "enabled": bool(row["enabled"]),
        "disabled-reason": row["disabled_reason"] or None,
        "failing-since": zoned_moment(row["failing_since"]),
    }
