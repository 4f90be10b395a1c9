"""Keep which RabbitMQ user published a command, and keep its commands' ids apart from those of HTTP callers.

Revision: 0008, after 0007.
"""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# What a downgrade loses, and how many of it there are.
LOSSES = (("audit entries whose publishing user is forgotten", "SELECT count(*) FROM audit WHERE user_id IS NOT NULL"),)

# Of a foreign publisher that RabbitMQ vouches for no user of, as none was known before.
_PREFIX = "amqp:/"
_ID_LENGTH = 255

_COMMANDS = sa.table("commands", sa.column("id", sa.String))
_AUDIT = sa.table("audit", sa.column("command_id", sa.String), sa.column("origin", sa.String))
_IDS = _COMMANDS.c.id


def upgrade() -> None:
    """Go up; a repeat of a foreign publisher's stored command still gets its answer, unless it has a `user_id`.

    Who sent it before is not known, so that a publisher who sends its user acts under new ids from now on.
    """
    op.add_column("audit", sa.Column("user_id", sa.String(length=255), nullable=True))
    # Only a command that came over HTTP has an address of origin.
    by_amqp = _IDS.in_(_command_ids(_AUDIT.c.origin == "")) & _IDS.not_in(_command_ids(_AUDIT.c.origin != ""))
    connection = op.get_bind()
    fits = sa.func.length(_IDS) + len(_PREFIX) <= _ID_LENGTH
    connection.execute(sa.update(_COMMANDS).where(by_amqp, fits).values(id=sa.literal(_PREFIX).concat(_IDS)))
    for old in connection.execute(sa.select(_IDS).where(by_amqp, ~fits)).scalars().all():
        new = "amqp:" + sha256((_PREFIX + old).encode()).hexdigest()
        connection.execute(sa.update(_COMMANDS).where(old == _IDS).values(id=new))


def downgrade() -> None:
    """Go down; the users are lost, and a repeat of a command whose publisher sent its user acts again."""
    taken = sa.select(sa.literal(_PREFIX).concat(_IDS)).scalar_subquery()
    plain = _IDS.startswith(_PREFIX, autoescape=True) & _IDS.not_in(taken)
    stripped = sa.func.substr(_IDS, len(_PREFIX) + 1)
    op.get_bind().execute(sa.update(_COMMANDS).where(plain).values(id=stripped))
    op.drop_column("audit", "user_id")


def _command_ids(condition: sa.ColumnElement[bool]) -> sa.Select[tuple[str]]:
    return sa.select(_AUDIT.c.command_id).where(condition)
