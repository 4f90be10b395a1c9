"""Tables of commands, audit, outbox, events and webhooks."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, text

from db.schema.base import BigId, UtcDateTime, metadata

commands: Final = Table(
    "commands",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("type", String(64), nullable=False),
    # SHA-256 of the command's content: the same id with other content is refused.
    Column("digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", JSON),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

# Only ever added to, and forgotten by age.
audit: Final = Table(
    "audit",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("caller", String(255), nullable=False),
    # Address that the API was called from; empty for a command that came by AMQP.
    Column("origin", String(255), nullable=False),
    # User of RabbitMQ that published the command, as RabbitMQ vouches for it; the caller is what it says itself.
    Column("user_id", String(255)),
    Column("command_id", String(255), nullable=False),
    Column("type", String(64), nullable=False),
    Column("subject", String(255)),
    # What was answered.
    Column("status", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_audit_at", audit.c.at)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", BigId, primary_key=True),
    # The actor to call.
    Column("actor", String(64), nullable=False),
    Column("argument", BigId),
    # The process that wrote it and relays it at once; any other does so only when it was left lying.
    Column("writer", String(255), nullable=False),
    # By the database's clock, seconds since the epoch.
    Column("written_at", Float, nullable=False),
    # The traceparent that the message carries.
    Column("trace", String(55)),
    sqlite_autoincrement=True,
)

events: Final = Table(
    "events",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("type", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("data", JSON, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    # Whether it went out on the events exchange; without a broker none does.
    Column("published", Boolean, nullable=False),
    # Traceparent of the work that the event is about.
    Column("trace", String(55)),
    sqlite_autoincrement=True,
)
Index(
    "ix_events_unpublished",
    events.c.id,
    # SQLAlchemy writes a negated column so on SQLite; an index with NOT would not be used.
    sqlite_where=text("published = 0"),
    postgresql_where=text("NOT published"),
)


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
    # Why it was disabled without a request; empty otherwise.
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
