"""Webhooks and their deliveries as the JSON objects of the wire; a secret, sealed or not, is in none of them."""

from __future__ import annotations

from datetime import UTC, datetime

from messages.resource_types import Delivery, Webhook
from messages.resources import Row, moment


def webhook_resource(row: Row) -> Webhook:
    """Return a webhook."""
    return {
        "id": row["id"],
        "name": row["name"],
        "url": row["url"],
        "types": row["types"],
        "subcloud": row["subcloud"],
        "enabled": bool(row["enabled"]),
        "disabled-at": moment(row["disabled_at"], "read"),
        "disabled-reason": row["disabled_reason"] or None,
        "failing-since": _clock_moment(row["failing_since"]),
        "old-secret-until": _clock_moment(row["old_until"]),
        "created-at": moment(row["created_at"], "read"),
        "updated-at": moment(row["updated_at"], "read"),
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
        "next-attempt-at": _clock_moment(row["next_attempt_at"]),
        "status": row["last_status"],
        "error": row["error"] or None,
        "duration-s": row["duration_s"],
        "attempted-at": moment(row["attempted_at"], "read"),
        "created-at": moment(row["created_at"], "read"),
        "finished-at": moment(row["finished_at"], "read"),
    }


def _clock_moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment(datetime.fromtimestamp(seconds, UTC), "read")
