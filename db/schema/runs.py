"""Tables of what workers do, and what playbooks print."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, text

from db.schema.base import metadata
from db.types import BigId, UtcDateTime

runs: Final = Table(
    "runs",
    metadata,
    Column("id", BigId, primary_key=True),
    # A run serves a step or a preparation.
    Column("step_id", BigId, ForeignKey("steps.id", ondelete="CASCADE"), index=True),
    Column("preparation_id", BigId, ForeignKey("preparations.id", ondelete="CASCADE"), index=True),
    Column("phase", String(32), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("details", Text, nullable=False),
    # Values that the run handed back (JSON object).
    Column("facts", JSON, nullable=False),
    # The worker that holds it. A run is claimed once in its life and a new attempt is a new run, so the id, which
    # only grows, is the fencing token.
    Column("owner", String(255)),
    # By the database's clock, seconds since the epoch.
    Column("dispatched_at", Float, nullable=False),
    Column("lease_until", Float),
    Column("cancel_requested", Boolean, nullable=False),
    # The plan has drawn its conclusion from the outcome.
    Column("consumed", Boolean, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # How far its playbook is (JSON object); None until it tells.
    Column("progress", JSON(none_as_null=True)),
    # The traceparent of its phase's span, which is told when the run is concluded.
    Column("trace", String(55)),
    sqlite_autoincrement=True,
)
# The runs that may need a look; finished and consumed ones, nearly all, are not in it. Each database uses it only for
# a condition spelled like its own, and SQLAlchemy spells `~consumed` as `consumed = 0` for SQLite.
Index(
    "ix_runs_unconsumed",
    runs.c.state,
    sqlite_where=text("consumed = 0"),
    postgresql_where=text("NOT consumed"),
)

run_outputs: Final = Table(
    "run_outputs",
    metadata,
    Column("run_id", BigId, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    # zlib-compressed UTF-8.
    Column("content", LargeBinary, nullable=False),
    # Where something is left out, by a line that says so, and how much; 0: it is whole.
    Column("left_out_at_bytes", BigId, nullable=False, server_default="0"),
    Column("left_out_bytes", BigId, nullable=False, server_default="0"),
)

# What runs print while they go on, piece by piece; of a lost run it stays.
live_outputs: Final = Table(
    "live_outputs",
    metadata,
    Column("run_id", BigId, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    # Where the piece ends in all that the run printed.
    Column("end_bytes", BigId, primary_key=True, autoincrement=False),
    # UTF-8.
    Column("content", LargeBinary, nullable=False),
)
