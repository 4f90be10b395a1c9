"""Record what a step does, and what a site ran when a release was staged on it.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    ("removals of staged releases, with what they printed", "SELECT count(*) FROM steps WHERE type = 'unstage'"),
    (
        "subclouds of which it is recorded what they ran when a release was staged",
        "SELECT count(*) FROM subclouds WHERE prestage_from_version IS NOT NULL",
    ),
)

_REMOVALS = "SELECT id FROM steps WHERE type = 'unstage'"
_RUNS = f"SELECT id FROM runs WHERE step_id IN ({_REMOVALS})"  # noqa: S608 - our own text


def upgrade() -> None:
    """Go up; every step so far is a prestage."""
    op.add_column("steps", sa.Column("type", sa.String(length=32), nullable=False, server_default="prestage"))
    op.add_column("subclouds", sa.Column("prestage_from_version", sa.String(length=255), nullable=True))


def downgrade() -> None:
    """Go down; steps that remove a release go, for the older program would take them for prestages."""
    for table in ("run_outputs", "live_outputs"):
        op.execute(f"DELETE FROM {table} WHERE run_id IN ({_RUNS})")  # noqa: S608 - our own text
    for table in ("runs", "secrets"):
        op.execute(f"DELETE FROM {table} WHERE step_id IN ({_REMOVALS})")  # noqa: S608 - our own text
    op.execute("DELETE FROM steps WHERE type = 'unstage'")
    op.drop_column("subclouds", "prestage_from_version")
    op.drop_column("steps", "type")
