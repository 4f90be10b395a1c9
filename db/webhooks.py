"""Webhooks as their sender works with them: who sends for which, what they have seen of the events, their end.

A webhook is claimed by one process at a time, by the database's clock, so that two coordinators do not send the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Connection, func, or_, select, update

from db.read_queries import Row, events_after, newest_event_id, oldest_event_id
from db.schema import database_now, webhooks
from db.unit_of_work import UnitOfWork
from db.webhook_deliveries import fail_open, insert_for_events, open_counts
from messages.event_types import WebhookDisabled

# How long a process may send without saying so again, and from when on it does, in seconds.
LEASE_S: Final = 45.0
RENEW_S: Final = 30.0
# Deliveries of one webhook that may be open; beyond, its cursor waits.
MOST_OPEN: Final = 1000
_REASON_LENGTH: Final = 200
# Events that are looked at in one transaction.
_BATCH: Final = 500

# Tells whether a webhook wants an event: both as rows.
Wants = Callable[[Row, Row], bool]


def enabled_webhooks(connection: Connection) -> list[Row]:
    """Return the webhooks that events are sent to.

    Beside their columns: `lease_left_s` until anybody may claim them, `old_counts`: the secret of before signs too.
    """
    query = select(
        webhooks,
        (webhooks.c.claimed_until - database_now()).label("lease_left_s"),
        (webhooks.c.old_until > database_now()).label("old_counts"),
    )
    found = connection.execute(query.where(webhooks.c.enabled).order_by(webhooks.c.id)).mappings().all()
    return cast("list[Row]", found)


def is_held(row: Row, owner: str) -> bool:
    """Tell whether `owner` may send for at least `RENEW_S` seconds from now."""
    left = row["lease_left_s"]
    return row["claimed_by"] == owner and left is not None and RENEW_S <= left <= LEASE_S


def is_free(row: Row, owner: str) -> bool:
    """Tell whether `owner` may claim a webhook."""
    left = row["lease_left_s"]
    # The clock may have been set back since.
    return row["claimed_by"] == owner or left is None or not 0 <= left <= LEASE_S


def claim(connection: Connection, ids: Sequence[int], owner: str) -> set[int]:
    """Take or keep webhooks for another `LEASE_S` seconds; return those that were to be had."""
    now = database_now()
    free = or_(
        webhooks.c.claimed_by == owner,
        webhooks.c.claimed_until.is_(None),
        webhooks.c.claimed_until < now,
        webhooks.c.claimed_until > now + LEASE_S,
    )
    statement = update(webhooks).where(webhooks.c.id.in_(ids), webhooks.c.enabled, free)
    taken = connection.execute(
        statement.values(claimed_by=owner, claimed_until=now + LEASE_S).returning(webhooks.c.id)
    ).scalars()
    # A secret goes when it no longer counts.
    past = update(webhooks).where(webhooks.c.id.in_(ids), webhooks.c.old_until < now)
    held = set(taken)
    connection.execute(past.values(old_sealed=None, old_bound_to=None, old_until=None))
    return held


def release(connection: Connection, owner: str) -> None:
    """Let others send at once for what `owner` holds."""
    statement = update(webhooks).where(webhooks.c.claimed_by == owner)
    connection.execute(statement.values(claimed_by=None, claimed_until=None))


def follow(connection: Connection, webhook: Row, wants: Wants, at: datetime) -> tuple[int, int]:
    """Make a delivery of each next event that the webhook wants, as many as may be open.

    Return how many events were looked at, and how many before them had been forgotten by age meanwhile.
    """
    room = MOST_OPEN - open_counts(connection, [webhook["id"]]).get(webhook["id"], 0)
    seen, chosen = webhook["cursor"], list[Row]()
    found = events_after(connection, seen, _BATCH) if room > 0 else []
    looked = 0
    for event in found:
        wanted = wants(webhook, event)
        if wanted and len(chosen) == room:
            break
        if wanted:
            chosen.append(event)
        looked, seen = looked + 1, event["id"]
    moved = update(webhooks).where(
        webhooks.c.id == webhook["id"], webhooks.c.cursor == webhook["cursor"], webhooks.c.enabled
    )
    # There was nothing to look at, or another process moved the cursor first.
    if not looked or not connection.execute(moved.values(cursor=seen)).rowcount:
        return 0, 0
    insert_for_events(connection, webhook["id"], chosen, at)
    oldest = oldest_event_id(connection) or 0
    return looked, max(0, oldest - 1 - webhook["cursor"])


def has_news(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Return the webhooks that have not seen the newest event and have room for what it may bring."""
    newest = newest_event_id(connection) if rows else 0
    behind = [row for row in rows if row["cursor"] < newest]
    counts = open_counts(connection, [row["id"] for row in behind]) if behind else {}
    return [row for row in behind if counts.get(row["id"], 0) < MOST_OPEN]


def lock(connection: Connection, ids: Collection[int]) -> None:
    """Lock these webhooks until the transaction ends, before any of their deliveries is changed."""
    query = select(webhooks.c.id).where(webhooks.c.id.in_(ids)).order_by(webhooks.c.id)
    connection.execute(query.with_for_update())


def note_tries(connection: Connection, worked: Collection[int], failed: Collection[int]) -> dict[int, float]:
    """Note which webhooks took something in, and which nothing; return for how many seconds the latter have failed."""
    if worked:
        ended = update(webhooks).where(webhooks.c.id.in_(worked), webhooks.c.failing_since.is_not(None))
        connection.execute(ended.values(failing_since=None))
    if not failed:
        return {}
    begun = update(webhooks).where(webhooks.c.id.in_(failed), webhooks.c.failing_since.is_(None))
    connection.execute(begun.values(failing_since=database_now()))
    since = select(webhooks.c.id, database_now() - webhooks.c.failing_since).where(webhooks.c.id.in_(failed))
    return {row[0]: float(row[1]) for row in connection.execute(since)}


def disable(work: UnitOfWork, webhook_id: int, reason: str) -> bool:
    """Send nothing more to a webhook; what is open fails. Return whether it was enabled.

    With a `reason` no caller asked for it, so an event is emitted.
    """
    reason = reason[:_REASON_LENGTH]
    statement = update(webhooks).where(webhooks.c.id == webhook_id, webhooks.c.enabled)
    values: dict[str, Any] = {
        "enabled": False,
        "disabled_at": work.at,
        "disabled_reason": reason,
        "updated_at": work.at,
    }
    name = work.connection.execute(statement.values(**values).returning(webhooks.c.name)).scalar()
    if name is None:
        return False
    fail_open(work.connection, webhook_id, f"The webhook was disabled. {reason}".strip(), work.at)
    if reason:
        work.emit("webhook.disabled", f"webhook/{name}", WebhookDisabled(webhook=name, reason=reason))
    return True


def all_webhooks(connection: Connection) -> list[Row]:
    """Return every webhook in the order of names."""
    return cast("list[Row]", connection.execute(select(webhooks).order_by(webhooks.c.name)).mappings().all())


def webhook_count(connection: Connection) -> int:
    """Return how many webhooks there are."""
    return int(connection.execute(select(func.count()).select_from(webhooks)).scalar_one())
