"""Tables of strategies, their steps and preparations, the runs of workers and their output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    exists,
    false,
    literal_column,
    text,
)

from db.schema.base import BigId, UtcDateTime, metadata


def _partial_index(name: str, condition: str, columns: Sequence[Column[Any]], *, unique: bool = False) -> None:
    where = text(condition)
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


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
    # The options of the rollout that count, by their names on the wire.
    Column("rollout", JSON, nullable=False, server_default="{}"),
    # The failure budget as a count of steps; null: there is none.
    Column("max_failures", Integer),
    # See `RolloutMode`.
    Column("mode", String(16), nullable=False, server_default="stages"),
    # Whether the steps of a window start only when each stage before their own has ended.
    Column("stage_by_stage", Boolean, nullable=False, server_default=false()),
    Column("applied_at", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("cancel_requested_by", String(255)),
    Column("cancel_grace_s", Float),
    # The strategy that it retries; no foreign key, for history may be removed before it.
    Column("retry_of", BigId, index=True),
    # The sentence of the time limit that ended it; empty: none did.
    Column("limit_reached", String(255), nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
# The condition of the active strategy: all others are history.
strategy_is_active: Final[ColumnElement[bool]] = strategies.c.deleted_at.is_(None)
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
    Column("subcloud_id", BigId, ForeignKey("subclouds.id", ondelete="SET NULL")),
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
    # See `StepOutcome`; null while the step is open.
    Column("outcome", String(16)),
    # Place in the order of a sliding window, within its stage, then by id; a negative one comes before all others of
    # any stage.
    Column("position", BigInteger, nullable=False, server_default="0"),
    # Attempt of the run of the phase, or of its next run where there is none; a withdrawn run was none.
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("cancel_requested_at", UtcDateTime),
    Column("cancel_requested_by", String(255)),
    # Seconds of the site's ended runs, from claim to end.
    Column("worked_s", Float, nullable=False, server_default="0"),
    # Whether it waits for a preparation and keeps its place among the steps in flight meanwhile.
    Column("preparing", Boolean, nullable=False, server_default=false()),
    # Whether phases are passed that earlier runs have proved; looked at when its preparation is complete.
    Column("resumes", Boolean, nullable=False, server_default=false()),
    # The run that proved the phases which it passed, and the digest of the content that has to be at the site.
    Column("proved_by", BigId),
    Column("passed_content", String(64)),
    # 1, and one more for each retry within its strategy.
    Column("series", Integer, nullable=False, server_default="1"),
    # Of a step that ended without success: see `FailureClass`, and the fingerprint of its problem. Null otherwise, and
    # of a step that ended before these were recorded.
    Column("failure_class", String(16)),
    Column("problem", String(12)),
    sqlite_autoincrement=True,
)
Index(
    "ix_steps_open",
    steps.c.strategy_id,
    steps.c.stage,
    sqlite_where=text("finished_at IS NULL"),
    postgresql_where=text("finished_at IS NULL"),
)
# Every move of a step writes its entries anew in the indexes of all steps, that of the primary key among them. They
# keep room for one more entry of each step: else a command that moves all steps of a strategy finds their pages full.
_ROOM: Final = {"fillfactor": 45}
Index("ix_steps_subcloud_id", steps.c.subcloud_id, postgresql_with=_ROOM)
Index("ix_steps_subcloud_name", steps.c.subcloud_name, steps.c.id, postgresql_with=_ROOM)
# Pages of a strategy's steps.
Index("ix_steps_strategy", steps.c.strategy_id, steps.c.id, postgresql_with=_ROOM)
# One for all that is asked of ended steps: a step that is aborted gets an entry in each index that it belongs to, and
# these entries are most of what ending ten thousand of them costs.
_partial_index(
    "ix_steps_ended",
    "finished_at IS NOT NULL",
    (steps.c.strategy_id, steps.c.state, steps.c.stage, steps.c.outcome, steps.c.finished_at),
)
_partial_index(
    "ix_steps_problem",
    "problem IS NOT NULL",
    (steps.c.strategy_id, steps.c.problem, steps.c.finished_at),
)
_partial_index(
    "ix_steps_failure_class",
    "failure_class IS NOT NULL",
    (steps.c.strategy_id, steps.c.failure_class, steps.c.id),
)
# SQLite uses a partial index only for a query that has each part of the condition in these words.
_partial_index(
    "ix_steps_not_started",
    "finished_at IS NULL AND state = 'initial' AND run_id IS NULL",
    (steps.c.strategy_id, steps.c.stage, steps.c.position, steps.c.id),
)
_partial_index(
    "ix_steps_first",
    "finished_at IS NULL AND state = 'initial' AND run_id IS NULL AND position < 0",
    (steps.c.strategy_id, steps.c.position, steps.c.id),
)
_partial_index(
    "ix_steps_cancelled",
    "finished_at IS NULL AND cancel_requested_at IS NOT NULL",
    # Alone, for SQLite takes the narrowest index, and would take that of all steps.
    (steps.c.strategy_id,),
)
# Parked ones, and those that wait for a preparation.
_partial_index(
    "ix_steps_without_run",
    "finished_at IS NULL AND state <> 'initial' AND run_id IS NULL",
    (steps.c.strategy_id, steps.c.state),
)
_partial_index(
    "ix_steps_in_flight",
    "finished_at IS NULL AND (run_id IS NOT NULL OR preparing)",
    (steps.c.strategy_id, steps.c.stage),
)
# When the first step began, and below when one changed last: with these no answer reads all steps for it.
_partial_index("ix_steps_started", "started_at IS NOT NULL", (steps.c.strategy_id, steps.c.started_at))
# Those that have not started and have changed all the same: their run was withdrawn, or they are to begin anew.
_partial_index(
    "ix_steps_put_back",
    "finished_at IS NULL AND state = 'initial' AND run_id IS NULL AND updated_at IS NOT NULL",
    (steps.c.strategy_id, steps.c.updated_at),
)

# Conditions of steps in the words of these indexes; literals, for SQLite uses a partial index only when its condition
# is known without parameters.
step_is_open: Final[ColumnElement[bool]] = steps.c.finished_at.is_(None)
step_has_ended: Final[ColumnElement[bool]] = steps.c.finished_at.is_not(None)
step_is_initial: Final[ColumnElement[bool]] = steps.c.state == literal_column("'initial'")
step_has_begun: Final[ColumnElement[bool]] = steps.c.state != literal_column("'initial'")
step_is_in_flight: Final[ColumnElement[bool]] = literal_column("(steps.run_id IS NOT NULL OR steps.preparing)")

# What the fingerprints of a strategy's steps stand for.
problems: Final = Table(
    "problems",
    metadata,
    Column("strategy_id", BigId, ForeignKey("strategies.id", ondelete="CASCADE"), primary_key=True),
    # The fingerprint.
    Column("id", String(12), primary_key=True),
    Column("phase", String(32), nullable=False),
    Column("failure_class", String(16), nullable=False),
    Column("task", String(120), nullable=False),
    Column("text", String(300), nullable=False),
)

# Stages of a strategy in window mode: its groups in order, or the stages of its rollout.
strategy_stages: Final = Table(
    "strategy_stages",
    metadata,
    Column("strategy_id", BigId, ForeignKey("strategies.id", ondelete="CASCADE"), primary_key=True),
    Column("stage", Integer, primary_key=True, autoincrement=False),
    # Most sites in flight; null: the strategy's width counts, over all stages.
    Column("width", Integer),
    # The failure budget of the stage as a count of its steps; null: there is none.
    Column("max_failures", Integer),
)

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
    # Digest of the content that the controller has now; null: its playbooks say none.
    Column("content", String(64)),
    # 1, and one more for each time that it was begun again after a failure.
    Column("round", Integer, nullable=False, server_default="1"),
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

holds: Final = Table(
    "holds",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("strategy_id", BigId, ForeignKey("strategies.id", ondelete="CASCADE"), nullable=False, index=True),
    # The one step that is held; null: see `stage` and `preparation_id`.
    Column("step_id", BigId, ForeignKey("steps.id", ondelete="CASCADE"), index=True),
    # The failed preparation whose steps are held.
    Column("preparation_id", BigId, ForeignKey("preparations.id", ondelete="CASCADE"), index=True),
    # See `HoldKind`.
    Column("kind", String(16), nullable=False),
    # The stage after which the stages are held; null: all.
    Column("stage", Integer),
    # See `HoldScope`.
    Column("scope", String(8), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    # Caller; empty for a hold of the plan.
    Column("by", String(255), nullable=False),
    Column("until", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("ended_by", String(255)),
    sqlite_autoincrement=True,
)
# The condition of steps whose site is held by itself.
step_is_held_alone: Final[ColumnElement[bool]] = exists().where(
    holds.c.step_id == steps.c.id, holds.c.ended_at.is_(None)
)
_partial_index("ix_holds_open", "ended_at IS NULL", (holds.c.strategy_id, holds.c.step_id))
# One open hold of operators on the whole strategy, and one on each site.
_partial_index(
    "uq_holds_operator",
    "ended_at IS NULL AND kind = 'operator' AND step_id IS NULL",
    (holds.c.strategy_id,),
    unique=True,
)
_partial_index(
    "uq_holds_operator_step",
    "ended_at IS NULL AND kind = 'operator' AND step_id IS NOT NULL",
    (holds.c.strategy_id, holds.c.step_id),
    unique=True,
)

# When a strategy that goes on is likely to end.
forecasts: Final = Table(
    "forecasts",
    metadata,
    Column("strategy_id", BigId, ForeignKey("strategies.id", ondelete="CASCADE"), primary_key=True),
    # By the database's clock, seconds since the epoch.
    Column("made_epoch", Float, nullable=False),
    # Moments that come before the end in 10, 50 and 90 of 100 cases; null: see `missing`.
    Column("p10_at", UtcDateTime),
    Column("p50_at", UtcDateTime),
    Column("p90_at", UtcDateTime),
    # Why there are none; empty: there are.
    Column("missing", String(300), nullable=False),
    # Sites that end per minute.
    Column("pace", Float, nullable=False),
    # Usual seconds by phase (JSON object).
    Column("usual", JSON, nullable=False, server_default="{}"),
    # What the last event of the progress told (JSON object); empty: there was none.
    Column("told", JSON, nullable=False, server_default="{}"),
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
    # Last progress that its playbook reported (JSON object); None before the first.
    Column("progress", JSON(none_as_null=True)),
    # Traceparent of its phase's span, which is recorded when the run is concluded.
    Column("trace", String(55)),
    # Seconds between the request to stop and the end by force, of a run that is to be cancelled; null: the default.
    Column("cancel_grace_s", Float),
    # Why it did not succeed: see `FailureClass`, the task and the text of `Failure`, and their fingerprint.
    Column("failure_class", String(16)),
    Column("failure_task", String(120)),
    Column("failure_text", String(300)),
    Column("problem", String(12)),
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
