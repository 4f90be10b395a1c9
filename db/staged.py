"""Show no longer what subclouds showed as staged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select, update

from db.schema import subclouds
from db.unit_of_work import Journal
from messages.event_types import SubcloudUpdated
from statemachine.releases import NOTHING_STAGED, is_outlived
from statemachine.states import PrestageStatus

# What a rule about it looks at.
_COLUMNS = (
    subclouds.c.id,
    subclouds.c.name,
    subclouds.c.software_version,
    subclouds.c.prestage_status,
    subclouds.c.prestage_versions,
    subclouds.c.prestage_from_version,
)


def end_outlived(connection: Connection, journal: Journal, versions: Mapping[int, str], at: datetime) -> None:
    """End what subclouds show as staged whose sites run another version now than when it was staged.

    Args:
        connection: The caller's transaction.

        journal: Gets the events.

        versions: What the sites run, by the ids of their subclouds.

        at: The moment that rows are stamped with (UTC).
    """
    end_staged(connection, journal, versions.keys(), lambda row: is_outlived(row, versions[row["id"]]), at)


def end_staged(
    connection: Connection,
    journal: Journal,
    subcloud_ids: Collection[int],
    is_over: Callable[[RowMapping], bool],
    at: datetime,
) -> None:
    """End what those of the subclouds show as staged whose rows `is_over` picks; a prestage that failed stays shown."""
    if not subcloud_ids:
        return
    query = select(*_COLUMNS).where(subclouds.c.id.in_(subcloud_ids)).order_by(subclouds.c.id)
    over = [row for row in connection.execute(query).mappings() if is_over(row)]
    if not over:
        return
    values = {**NOTHING_STAGED, "prestage_status": func.nullif(subclouds.c.prestage_status, PrestageStatus.COMPLETE)}
    connection.execute(
        update(subclouds).where(subclouds.c.id.in_([row["id"] for row in over])).values(**values, updated_at=at)
    )
    for row in over:
        fields = SubcloudUpdated(fields=sorted(NOTHING_STAGED))
        journal.tell("subcloud.updated", f"subcloud/{row['name']}", fields)
