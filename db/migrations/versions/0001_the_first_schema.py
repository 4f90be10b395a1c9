"""The first schema.

Revision: 0001, the first.
"""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "commands",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
    )
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_commands_created_at"), ["created_at"], unique=False)

    op.create_table(
        "controller",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("upgrading", sa.Boolean(), nullable=False),
        sa.Column("installation", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_controller")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(
            "ix_events_unpublished",
            ["id"],
            unique=False,
            sqlite_where=sa.text("published = 0"),
            postgresql_where=sa.text("NOT published"),
        )

    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("argument", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("writer", sa.String(length=255), nullable=False),
        sa.Column("written_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "strategies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("subcloud_apply_type", sa.String(length=16), nullable=True),
        sa.Column("max_parallel_subclouds", sa.Integer(), nullable=True),
        sa.Column("stop_on_failure", sa.Boolean(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("release", sa.String(length=16), nullable=False),
        sa.Column("for_sw_deploy", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("excluded", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategies")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "subcloud_groups",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("update_apply_type", sa.String(length=16), nullable=False),
        sa.Column("max_parallel_subclouds", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subcloud_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_subcloud_groups_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
    )
    op.create_table(
        "subclouds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("location", sa.String(length=255), nullable=True),
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("software_version", sa.String(length=255), nullable=False),
        sa.Column("management_state", sa.String(length=16), nullable=False),
        sa.Column("availability_status", sa.String(length=16), nullable=False),
        sa.Column("deploy_status", sa.String(length=64), nullable=False),
        sa.Column("prestage_status", sa.String(length=16), nullable=True),
        sa.Column("prestage_versions", sa.String(length=255), nullable=True),
        sa.Column("error_description", sa.String(length=2048), nullable=False),
        sa.Column("region_name", sa.String(length=255), nullable=False),
        sa.Column("management_subnet", sa.String(length=255), nullable=True),
        sa.Column("management_start_ip", sa.String(length=255), nullable=True),
        sa.Column("management_end_ip", sa.String(length=255), nullable=True),
        sa.Column("management_gateway_ip", sa.String(length=255), nullable=True),
        sa.Column("systemcontroller_gateway_ip", sa.String(length=255), nullable=True),
        sa.Column("openstack_installed", sa.Boolean(), nullable=False),
        sa.Column("data_install", sa.Text(), nullable=True),
        sa.Column("system_mode", sa.String(length=16), nullable=False),
        sa.Column("oam_floating_ip", sa.String(length=255), nullable=True),
        sa.Column("management_alarms", sa.Integer(), nullable=False),
        sa.Column("connection", sa.JSON(), nullable=False),
        sa.Column("probe_failures", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["subcloud_groups.id"], name=op.f("fk_subclouds_group_id_subcloud_groups")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subclouds")),
        sa.UniqueConstraint("name", name=op.f("uq_subclouds_name")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("subclouds", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_subclouds_group_id"), ["group_id"], unique=False)

    op.create_table(
        "steps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("strategy_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("subcloud_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("subcloud_name", sa.String(length=255), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("details", sa.String(length=1000), nullable=False),
        sa.Column("release", sa.String(length=16), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("for_sw_deploy", sa.Boolean(), nullable=False),
        sa.Column("from_version", sa.String(length=255), nullable=True),
        sa.Column("oam_address", sa.String(length=255), nullable=True),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name=op.f("fk_steps_strategy_id_strategies"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subcloud_id"], ["subclouds.id"], name=op.f("fk_steps_subcloud_id_subclouds"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.create_index(
            "ix_steps_open",
            ["strategy_id", "stage"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )
        batch_op.create_index("ix_steps_strategy_state", ["strategy_id", "state", "stage"], unique=False)
        batch_op.create_index(batch_op.f("ix_steps_subcloud_id"), ["subcloud_id"], unique=False)

    op.create_table(
        "preparations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("strategy_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("step_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("release", sa.String(length=16), nullable=False),
        sa.Column("from_version", sa.String(length=255), nullable=False),
        sa.Column("opened_by_step_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["step_id"], ["steps.id"], name=op.f("fk_preparations_step_id_steps"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name=op.f("fk_preparations_strategy_id_strategies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preparations")),
    )
    with op.batch_alter_table("preparations", schema=None) as batch_op:
        batch_op.create_index("uq_preparations_step", ["step_id", "release", "from_version"], unique=True)
        batch_op.create_index("uq_preparations_strategy", ["strategy_id", "release", "from_version"], unique=True)

    op.create_table(
        "secrets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("strategy_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("step_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("bound_to", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["step_id"], ["steps.id"], name=op.f("fk_secrets_step_id_steps"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name=op.f("fk_secrets_strategy_id_strategies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secrets")),
        sa.UniqueConstraint("step_id", name=op.f("uq_secrets_step_id")),
        sa.UniqueConstraint("strategy_id", name=op.f("uq_secrets_strategy_id")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("step_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("preparation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("dispatched_at", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("consumed", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["preparation_id"],
            ["preparations.id"],
            name=op.f("fk_runs_preparation_id_preparations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["step_id"], ["steps.id"], name=op.f("fk_runs_step_id_steps"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_preparation_id"), ["preparation_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_step_id"), ["step_id"], unique=False)
        batch_op.create_index(
            "ix_runs_unconsumed",
            ["state"],
            unique=False,
            sqlite_where=sa.text("consumed = 0"),
            postgresql_where=sa.text("NOT consumed"),
        )

    op.create_table(
        "run_outputs",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_outputs_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_outputs")),
    )
    # Alembic cannot reflect an expression index: one active strategy of any type.
    op.create_index(
        "uq_strategies_one_active",
        "strategies",
        [sa.literal_column("(1)")],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.execute(
        "INSERT INTO subcloud_groups"
        " (name, description, update_apply_type, max_parallel_subclouds, created_at)"
        " VALUES ('Default', 'Default Subcloud Group', 'parallel', 2, CURRENT_TIMESTAMP)"
    )
    op.execute(f"INSERT INTO controller (id, upgrading, installation) VALUES (1, false, '{uuid4()}')")  # noqa: S608


def downgrade() -> None:
    """Go down; what the revision added is lost."""
    op.drop_table("run_outputs")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_runs_unconsumed", sqlite_where=sa.text("consumed = 0"), postgresql_where=sa.text("NOT consumed")
        )
        batch_op.drop_index(batch_op.f("ix_runs_step_id"))
        batch_op.drop_index(batch_op.f("ix_runs_preparation_id"))

    op.drop_table("runs")
    op.drop_table("secrets")
    with op.batch_alter_table("preparations", schema=None) as batch_op:
        batch_op.drop_index("uq_preparations_strategy")
        batch_op.drop_index("uq_preparations_step")

    op.drop_table("preparations")
    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_steps_subcloud_id"))
        batch_op.drop_index("ix_steps_strategy_state")
        batch_op.drop_index(
            "ix_steps_open",
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )

    op.drop_table("steps")
    with op.batch_alter_table("subclouds", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_subclouds_group_id"))

    op.drop_table("subclouds")
    op.drop_table("tokens")
    op.drop_table("subcloud_groups")
    op.drop_table("strategies")
    op.drop_table("outbox")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_events_unpublished", sqlite_where=sa.text("published = 0"), postgresql_where=sa.text("NOT published")
        )

    op.drop_table("events")
    op.drop_table("controller")
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_commands_created_at"))

    op.drop_table("commands")
