"""The tables. What is here must equal what the migrations make; a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    text,
)

from db.types import BigId, UtcDateTime

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

subcloud_groups: Final = Table(
    "subcloud_groups",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255), nullable=False),
    Column("update_apply_type", String(16), nullable=False),
    Column("max_parallel_subclouds", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    # An id is never given twice: whoever holds one means the same row.
    sqlite_autoincrement=True,
)

subclouds: Final = Table(
    "subclouds",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255)),
    Column("location", String(255)),
    Column("group_id", BigId, ForeignKey("subcloud_groups.id"), nullable=False, index=True),
    Column("software_version", String(255), nullable=False),
    Column("management_state", String(16), nullable=False),
    Column("availability_status", String(16), nullable=False),
    Column("deploy_status", String(64), nullable=False),
    Column("prestage_status", String(16)),
    Column("prestage_versions", String(255)),
    Column("error_description", String(2048), nullable=False),
    Column("region_name", String(255), nullable=False),
    Column("management_subnet", String(255)),
    Column("management_start_ip", String(255)),
    Column("management_end_ip", String(255)),
    Column("management_gateway_ip", String(255)),
    Column("systemcontroller_gateway_ip", String(255)),
    Column("openstack_installed", Boolean, nullable=False),
    Column("data_install", Text),
    # Facts as the operator declared them, read by the `declared` inspector.
    Column("system_mode", String(16), nullable=False),
    Column("oam_floating_ip", String(255)),
    Column("management_alarms", Integer, nullable=False),
    # Ansible connection variables of the site, without secrets: ansible_port, ansible_connection ...
    Column("connection", JSON, nullable=False),
    # Failed availability probes in a row.
    Column("probe_failures", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    sqlite_autoincrement=True,
)

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

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    # SHA-256 of the token; the token itself is shown once, at creation.
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
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

# One row: what the operator declares of the system controller. Coordinator transactions lock it first, which gives
# them one order.
controller: Final = Table(
    "controller",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("upgrading", Boolean, nullable=False),
    # Name of this installation, made once; sites tell controllers apart by it.
    Column("installation", String(64), nullable=False),
)
