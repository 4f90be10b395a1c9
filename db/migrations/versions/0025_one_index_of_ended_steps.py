"""Have commands about all steps of a strategy write fewer entries of indexes, and find room for them.

One index of the steps that have ended replaces three. On PostgreSQL the indexes of all steps keep room for a second
entry of each: pages that a strategy's creation filled had to be split when all its steps ended.

Revision: 0025, after 0024.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

# An index holds nothing that is lost.
LOSSES = ()

_Indexes = dict[str, tuple[list[str], str | None]]
# Columns and condition of each. A process of the version before finds the same rows with the new one, which has what it
# counts, or with the index of pages.
_BEFORE: _Indexes = {
    "ix_steps_strategy_state": (["strategy_id", "state", "stage"], None),
    "ix_steps_strategy_outcome": (["strategy_id", "outcome", "stage"], None),
    "ix_steps_finished": (["strategy_id", "finished_at"], "finished_at IS NOT NULL"),
}
_AFTER: _Indexes = {
    "ix_steps_ended": (["strategy_id", "state", "stage", "outcome", "finished_at"], "finished_at IS NOT NULL"),
}


# All steps have an entry in each of these.
_OF_ALL = ("pk_steps", "ix_steps_subcloud_id", "ix_steps_subcloud_name", "ix_steps_strategy")


def _on_postgresql(option: str) -> None:
    """Set an option of the indexes of all steps; it counts for pages that are filled from now on."""
    if op.get_bind().dialect.name == "postgresql":
        for name in _OF_ALL:
            op.execute(f"ALTER INDEX {name} {option}")


def _replace(old: _Indexes, new: _Indexes) -> None:
    for name in old:
        op.drop_index(name, "steps")
    for name, (columns, condition) in new.items():
        where = None if condition is None else sa.text(condition)
        op.create_index(name, "steps", columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    """Go up."""
    _replace(_BEFORE, _AFTER)
    _on_postgresql("SET (fillfactor = 45)")


def downgrade() -> None:
    """Go down."""
    _on_postgresql("RESET (fillfactor)")
    _replace(_AFTER, _BEFORE)
