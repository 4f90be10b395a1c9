"""Tables of what was asked, what is to be sent, and what happened."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, String, Table, Text, text

from db.schema.base import metadata
from db.types import BigId, UtcDateTime

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
    # The traceparent of what it tells of.
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
