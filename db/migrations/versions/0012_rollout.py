"""Record how a strategy is held, limited and cancelled, and how each step ended.

Revision: 0012, after 0011.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_LIMITED = " OR ".join(f"CAST(rollout AS VARCHAR) LIKE '%{option}%'" for option in ("max-failures", "ramp", "timeouts"))
# What a downgrade loses, and how many of it there are.
LOSSES = (
    ("holds of strategies, with who made and ended them", "SELECT count(*) FROM holds"),
    (
        "strategies whose failure budget, slow start and time limits are forgotten",
        f"SELECT count(*) FROM strategies WHERE {_LIMITED}",  # noqa: S608 - our own text
    ),
    (
        "groups whose options of a rollout are forgotten",
        "SELECT count(*) FROM subcloud_groups WHERE CAST(rollout AS VARCHAR) <> '{}'",
    ),
    (
        "steps that were cancelled, which history then shows as aborted",
        "SELECT count(*) FROM steps WHERE outcome = 'cancelled'",
    ),
)

# The active strategy, as long as it is not over; the older program would carry it out by its own rules.
_GOES_ON = "deleted_at IS NULL AND state IN ('initial', 'applying', 'abort requested', 'aborting')"
_OPEN_HOLD = "SELECT 1 FROM holds WHERE holds.strategy_id = strategies.id AND holds.ended_at IS NULL"
# What a downgrade is refused for: why and what to do, about the strategies that a statement names.
REFUSALS = (
    (
        "Strategy {id} is held; resume it, or abort it",
        f"SELECT id FROM strategies WHERE {_GOES_ON} AND EXISTS ({_OPEN_HOLD} AND step_id IS NULL)",  # noqa: S608 - our own text
    ),
    (
        "Strategy {id} has sites that are held by themselves; release them, or abort it",
        f"SELECT id FROM strategies WHERE {_GOES_ON} AND EXISTS ({_OPEN_HOLD} AND step_id IS NOT NULL)",  # noqa: S608 - our own text
    ),
    (
        "Strategy {id} goes through its sites in window mode; wait for its end, or abort or delete it",
        f"SELECT id FROM strategies WHERE {_GOES_ON} AND mode = 'window'",  # noqa: S608 - our own text
    ),
)

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_DURATION = {
    "sqlite": "(julianday(finished_at) - julianday(started_at)) * 86400.0",
    "postgresql": "extract(epoch FROM finished_at - started_at)",
}
# Name, columns and condition of each new index of steps.
_STEP_INDEXES = (
    ("ix_steps_not_started", ["strategy_id", "stage", "position", "id"], "state = 'initial' AND run_id IS NULL"),
    ("ix_steps_without_run", ["strategy_id", "state"], "state <> 'initial' AND run_id IS NULL"),
    ("ix_steps_first", ["strategy_id", "position", "id"], "state = 'initial' AND run_id IS NULL AND position < 0"),
    ("ix_steps_in_flight", ["strategy_id", "stage"], "(run_id IS NOT NULL OR preparing)"),
)


def _new_columns() -> dict[str, tuple[sa.Column[Any], ...]]:
    return {
        "strategies": (
            sa.Column("rollout", sa.JSON(), nullable=False, server_default="{}"),
            sa.Column("mode", sa.String(length=16), nullable=False, server_default="stages"),
            sa.Column("applied_at", sa.DateTime(), nullable=True),
            sa.Column("held_s", sa.Float(), nullable=False, server_default="0"),
            sa.Column("cancel_requested_at", sa.DateTime(), nullable=True),
            sa.Column("cancel_requested_by", sa.String(length=255), nullable=True),
            sa.Column("cancel_grace_s", sa.Float(), nullable=True),
            sa.Column("limit_reached", sa.String(length=255), nullable=False, server_default=""),
        ),
        "steps": (
            sa.Column("outcome", sa.String(length=16), nullable=True),
            sa.Column("position", sa.BigInteger(), nullable=False, server_default="0"),
            sa.Column("attempt", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("cancel_requested_at", sa.DateTime(), nullable=True),
            sa.Column("cancel_requested_by", sa.String(length=255), nullable=True),
            sa.Column("worked_s", sa.Float(), nullable=False, server_default="0"),
            sa.Column("preparing", sa.Boolean(), nullable=False, server_default=sa.false()),
        ),
        "runs": (sa.Column("cancel_grace_s", sa.Float(), nullable=True),),
        "preparations": (sa.Column("round", sa.Integer(), nullable=False, server_default="1"),),
        "subcloud_groups": (sa.Column("rollout", sa.JSON(), nullable=False, server_default="{}"),),
    }


def upgrade() -> None:
    """Go up; no strategy is held, all go by stages, and the past gets its outcomes and working times."""
    for table, columns in _new_columns().items():
        for column in columns:
            op.add_column(table, column)
    _make_holds()
    op.create_table(
        "strategy_stages",
        sa.Column("strategy_id", _ID, nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["strategies.id"],
            name=op.f("fk_strategy_stages_strategy_id_strategies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("strategy_id", "stage", name=op.f("pk_strategy_stages")),
    )
    for name, indexed, condition in _STEP_INDEXES:
        where = sa.text(f"finished_at IS NULL AND {condition}")
        op.create_index(name, "steps", indexed, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_steps_strategy_outcome", "steps", ["strategy_id", "outcome", "stage"])
    _fill()


def _make_holds() -> None:
    op.create_table(
        "holds",
        sa.Column("id", _ID, nullable=False),
        sa.Column("strategy_id", _ID, nullable=False),
        sa.Column("step_id", _ID, nullable=True),
        sa.Column("preparation_id", _ID, nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=True),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("ended_by", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name=op.f("fk_holds_strategy_id_strategies"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["step_id"], ["steps.id"], name=op.f("fk_holds_step_id_steps"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["preparation_id"],
            ["preparations.id"],
            name=op.f("fk_holds_preparation_id_preparations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
        sqlite_autoincrement=True,
    )
    for column in ("strategy_id", "step_id", "preparation_id"):
        op.create_index(op.f(f"ix_holds_{column}"), "holds", [column])
    for name, columns, unique, condition in (
        ("ix_holds_open", ["strategy_id", "step_id"], False, "ended_at IS NULL"),
        ("uq_holds_operator", ["strategy_id"], True, "ended_at IS NULL AND kind = 'operator' AND step_id IS NULL"),
        (
            "uq_holds_operator_step",
            ["strategy_id", "step_id"],
            True,
            "ended_at IS NULL AND kind = 'operator' AND step_id IS NOT NULL",
        ),
    ):
        where = sa.text(condition)
        op.create_index(name, "holds", columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _fill() -> None:
    # A complete step with details was skipped (contract 3.2).
    op.execute(
        "UPDATE steps SET position = id,"
        " attempt = coalesce((SELECT runs.attempt FROM runs WHERE runs.id = steps.run_id), 1),"
        " outcome = CASE WHEN state = 'complete' AND details <> '' THEN 'skipped'"
        " WHEN state IN ('complete', 'failed', 'aborted') THEN state END,"
        " preparing = (state = 'prestage-prepare' AND run_id IS NULL)"
    )
    duration = _DURATION[op.get_bind().dialect.name]
    ended = "started_at IS NOT NULL AND finished_at >= started_at"
    op.execute(
        f"UPDATE steps SET worked_s = worked.seconds FROM (SELECT step_id, sum({duration}) AS seconds FROM runs"  # noqa: S608 - our own text
        f" WHERE step_id IS NOT NULL AND {ended} GROUP BY step_id) AS worked WHERE worked.step_id = steps.id"
    )


def downgrade() -> None:
    """Go down; holds and options of rollouts are forgotten."""
    for name, _columns, _condition in _STEP_INDEXES:
        op.drop_index(name, "steps")
    op.drop_index("ix_steps_strategy_outcome", "steps")
    for table in ("strategy_stages", "holds"):
        op.drop_table(table)
    for table, columns in _new_columns().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)
