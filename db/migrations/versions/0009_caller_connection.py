"""Keep the connection variables of the operator's import apart from those of callers.

Who set the present ones is not known. What a caller may set stays as a caller's; the rest, which may run commands on
the controller or lead to it, is taken out and listed, and the operator's next import brings it back.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
import structlog
from alembic import op

from messages.connection_variables import read_callers_variable, site_variables
from messages.errors import ConnectionVariableError
from messages.site_addresses import is_site_address

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LOSSES = (
    (
        "subclouds whose connection variables are no longer kept apart, the operator's from those of callers",
        (
            "SELECT count(*) FROM subclouds WHERE CAST(connection AS TEXT) <> '{}'"
            " OR CAST(caller_connection AS TEXT) <> '{}'"
        ),
    ),
    (
        "lists of connection variables that were taken out of a subcloud",
        "SELECT count(*) FROM subclouds WHERE CAST(removed_variables AS TEXT) <> '[]'",
    ),
)

_log = structlog.get_logger(__name__)

_ADDRESSES = ("oam_floating_ip", "management_start_ip")

_SUBCLOUDS = sa.table(
    "subclouds",
    sa.column("id", sa.BigInteger),
    sa.column("name", sa.String),
    sa.column("connection", sa.JSON),
    sa.column("caller_connection", sa.JSON),
    sa.column("removed_variables", sa.JSON),
    *(sa.column(name, sa.String) for name in _ADDRESSES),
)


def upgrade() -> None:
    """Go up; what is taken out of each subcloud is logged by its name, without its value."""
    op.add_column("subclouds", sa.Column("caller_connection", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("subclouds", sa.Column("removed_variables", sa.JSON(), nullable=False, server_default="[]"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(_SUBCLOUDS).order_by(_SUBCLOUDS.c.id)).mappings().all():
        values = dict(_kept(row))
        if not values:
            continue
        connection.execute(sa.update(_SUBCLOUDS).where(_SUBCLOUDS.c.id == row["id"]).values(**values))
        if "removed_variables" in values:
            _log.warning(
                "subcloud.variables-removed",
                subcloud=row["name"],
                variables=values["removed_variables"],
                advice="Who set them is not known. Import the site again: prestager subcloud import --update",
            )


def downgrade() -> None:
    """Go down; the operator's variables join those of callers, and the list of removed ones is lost."""
    connection = op.get_bind()
    for row in connection.execute(sa.select(_SUBCLOUDS)).mappings().all():
        if row["caller_connection"]:
            merged = site_variables(row)
            connection.execute(sa.update(_SUBCLOUDS).where(_SUBCLOUDS.c.id == row["id"]).values(connection=merged))
    op.drop_column("subclouds", "removed_variables")
    op.drop_column("subclouds", "caller_connection")


def _kept(row: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a subcloud that change, the list of what is taken out last; none when all may stay."""
    variables = _variables(row["connection"])
    kept = {}
    for name, value in variables.items():
        try:
            kept[name] = read_callers_variable(name, value)
        except ConnectionVariableError:
            continue
    lost = [name for name in _ADDRESSES if row[name] and not is_site_address(row[name])]
    removed = [*sorted(variables.keys() - kept.keys()), *lost]
    if row["connection"]:
        yield "connection", {}
        yield "caller_connection", kept
    if removed:
        yield from ((name, None) for name in lost)
        yield "removed_variables", removed


def _variables(stored: Any) -> dict[str, Any]:
    value = json.loads(stored) if isinstance(stored, str) else stored
    return value if isinstance(value, dict) else {}
