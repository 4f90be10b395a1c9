"""Keep when each secret key sealed last; sealed texts carry the ids of their keys from now on.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (
    (
        "secrets that forget which key sealed them (the older program needs a key file with that one key alone)",
        "SELECT (SELECT count(*) FROM secrets) + (SELECT count(*) FROM webhooks)",
    ),
)

# Sealed texts, and how many characters the id of the key and its colon take.
_SEALED = (("secrets", "sealed"), ("webhooks", "sealed"), ("webhooks", "old_sealed"))
_MARK = 17


def upgrade() -> None:
    """Go up; texts that are sealed already stay as they are, and are tried with every key."""
    op.create_table(
        "secret_keys",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("last_sealing_epoch", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_secret_keys")),
    )


def downgrade() -> None:
    """Go down; older programs open sealed texts without ids, with the one key that they have."""
    for table, name in _SEALED:
        column = sa.column(name, sa.Text())
        op.execute(
            sa.update(sa.table(table, column))
            .where(sa.func.substr(column, _MARK, 1) == ":")
            .values({name: sa.func.substr(column, _MARK + 1)})
        )
    op.drop_table("secret_keys")
