"""Tables of what is to be done: strategies, their steps and preparations."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, literal_column, text

from db.schema.base import metadata
from db.types import BigId, UtcDateTime

strategies: Final = Table(
    "strategies",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("type", String(32), nullable=False),
    Column("subcloud_apply_type", String(16)),
    Column("max_parallel_subclouds", Integer),
    Column("stop_on_failure", Boolean, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("release", String(16), nullable=False),
    Column("for_sw_deploy", Boolean, nullable=False),
    Column("state", String(32), nullable=False),
    # The caller; empty for one of before the audit.
    Column("requested_by", String(255), nullable=False, server_default=""),
    # Subclouds that were left out at create: a list of {name, reason}.
    Column("excluded", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # A deleted strategy is history: no answer shows it, a new one may be created.
    Column("deleted_at", UtcDateTime),
    # The traceparent of the command that applied it; here and below null: traces were off.
    Column("trace", String(55)),
    sqlite_autoincrement=True,
)
# One active strategy of any type: a unique index over a constant, of the rows that are not history.
Index(
    "uq_strategies_one_active",
    literal_column("(1)"),
    unique=True,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
    _table=strategies,
)

steps: Final = Table(
    "steps",
    metadata,
    Column("id", BigId, primary_key=True),
    # None: a standalone prestage.
    Column("strategy_id", BigId, ForeignKey("strategies.id", ondelete="CASCADE")),
    # None: the subcloud was removed; history keeps its name.
    Column("subcloud_id", BigId, ForeignKey("subclouds.id", ondelete="SET NULL"), index=True),
    Column("subcloud_name", String(255), nullable=False),
    # What the step does, see `StepType`.
    Column("type", String(32), nullable=False, server_default="prestage"),
    Column("stage", Integer, nullable=False),
    Column("state", String(32), nullable=False),
    Column("details", String(1000), nullable=False),
    Column("release", String(16), nullable=False),
    Column("force", Boolean, nullable=False),
    Column("for_sw_deploy", Boolean, nullable=False),
    # What the site ran and where it was reached, as precheck read it.
    Column("from_version", String(255)),
    Column("oam_address", String(255)),
    # The run of the current phase; no foreign key, for runs point here.
    Column("run_id", BigId),
    Column("version", Integer, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    # Of a standalone prestage: the traceparent of the command that asked for it, in whose trace its phases are.
    Column("trace", String(55)),
    sqlite_autoincrement=True,
)
Index(
    "ix_steps_open",
    steps.c.strategy_id,
    steps.c.stage,
    sqlite_where=text("finished_at IS NULL"),
    postgresql_where=text("finished_at IS NULL"),
)
Index("ix_steps_strategy_state", steps.c.strategy_id, steps.c.state, steps.c.stage)

preparations: Final = Table(
    "preparations",
    metadata,
    Column("id", BigId, primary_key=True),
    # The owner: a strategy, or the step of a standalone prestage.
    Column("strategy_id", BigId, ForeignKey("strategies.id", ondelete="CASCADE")),
    Column("step_id", BigId, ForeignKey("steps.id", ondelete="CASCADE")),
    Column("release", String(16), nullable=False),
    Column("from_version", String(255), nullable=False),
    Column("opened_by_step_id", BigId, nullable=False),
    Column("state", String(16), nullable=False),
    Column("details", Text, nullable=False),
    Column("run_id", BigId),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)
# Null is not equal to null in a unique index, so one index per kind of owner.
Index(
    "uq_preparations_strategy",
    preparations.c.strategy_id,
    preparations.c.release,
    preparations.c.from_version,
    unique=True,
)
Index("uq_preparations_step", preparations.c.step_id, preparations.c.release, preparations.c.from_version, unique=True)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("id", BigId, primary_key=True),
    # The owner, whose end wipes the secret.
    Column("strategy_id", BigId, ForeignKey("strategies.id", ondelete="CASCADE"), unique=True),
    Column("step_id", BigId, ForeignKey("steps.id", ondelete="CASCADE"), unique=True),
    # AES-GCM, bound to the command it came with.
    Column("sealed", Text, nullable=False),
    Column("bound_to", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
