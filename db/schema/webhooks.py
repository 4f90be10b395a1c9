"""Tables of webhooks and what was sent to them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, text

from db.schema.base import metadata
from db.types import BigId, UtcDateTime

webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    # May hold a token in its path: shown to those who may change it, and never logged.
    Column("url", String(2000), nullable=False),
    # Beginnings of the types that are wanted; none: every type.
    Column("types", JSON, nullable=False),
    # The only subcloud whose events are wanted; None: all.
    Column("subcloud", String(255)),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_at", UtcDateTime),
    # Why it was disabled though nobody asked for it.
    Column("disabled_reason", String(255), nullable=False),
    # The signing secret: AES-GCM, bound to the command it came with.
    Column("sealed", Text, nullable=False),
    Column("bound_to", String(255), nullable=False),
    # The one before, and until when it signs too, by the database's clock.
    Column("old_sealed", Text),
    Column("old_bound_to", String(255)),
    Column("old_until", Float),
    # Number of the last event that was looked at for it.
    Column("cursor", BigId, nullable=False),
    # Since when every try has failed, by the database's clock.
    Column("failing_since", Float),
    # The process that sends, and how long it may without saying so again, by the database's clock.
    Column("claimed_by", String(255)),
    Column("claimed_until", Float),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    sqlite_autoincrement=True,
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("webhook_id", BigId, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    # None: a ping. No foreign key: events are forgotten by age.
    Column("event_id", BigId),
    Column("type", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    # Why it is sent: event, ping, redelivery.
    Column("cause", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    # By the database's clock; None: it is delivered or failed.
    Column("next_attempt_at", Float),
    # What came of the last try.
    Column("last_status", Integer),
    Column("error", String(255), nullable=False),
    Column("duration_s", Float),
    Column("attempted_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    sqlite_autoincrement=True,
)
Index("ix_webhook_deliveries_webhook", webhook_deliveries.c.webhook_id, webhook_deliveries.c.id)
Index(
    "ix_webhook_deliveries_open",
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.next_attempt_at,
    sqlite_where=text("next_attempt_at IS NOT NULL"),
    postgresql_where=text("next_attempt_at IS NOT NULL"),
)
