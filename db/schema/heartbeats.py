"""Tables of what processes report: themselves, and the secret keys that they seal with."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, Integer, String, Table, Text

from db.schema.base import metadata

heartbeats: Final = Table(
    "heartbeats",
    metadata,
    # Worker name, machine and a random id: every start of a process has a row of its own.
    Column("process", String(255), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    # Names of the roles with "+" between them, sorted.
    Column("role", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    # Queues that a worker serves (JSON list); empty for a process without a worker.
    Column("queues", JSON, nullable=False),
    # Playbooks at once, playbooks now, and sites whose facts are being read; null without a worker.
    Column("slots", Integer),
    Column("running", Integer),
    Column("prechecks", Integer),
    Column("draining", Boolean, nullable=False),
    # Releases that have a directory below the deploy directory, and releases with a package feed (JSON lists of
    # MM.mm); null until the process has looked.
    Column("releases", JSON(none_as_null=True)),
    Column("feeds", JSON(none_as_null=True)),
    # First error of the playbooks; empty: none. Null until the process has looked, and without a worker.
    Column("playbooks_error", Text),
    # Ids of the secret keys that the process opens with, the sealing one first (JSON list).
    Column("key_ids", JSON, nullable=False),
    # By the database's clock, seconds since the epoch.
    Column("started_epoch", Float, nullable=False),
    Column("seen_epoch", Float, nullable=False),
)

secret_keys: Final = Table(
    "secret_keys",
    metadata,
    # Of a key that a process sealed with; never the key.
    Column("key_id", String(16), primary_key=True),
    # When a process began or ceased to seal with it, the latest, by the database's clock: seconds since the epoch.
    Column("last_sealing_epoch", Float, nullable=False),
)
