"""Show no longer what subclouds showed as staged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from sqlalchemy import RowMapping, func, select, update

from db.schema import subclouds
from db.unit_of_work import UnitOfWork
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


def end_outlived(work: UnitOfWork, versions: Mapping[int, str]) -> None:
    """End what subclouds show as staged whose sites run another version now than when it was staged.

    Args:
        work: The transaction, which gets the events.

        versions: What the sites run, by the ids of their subclouds.
    """
    end_staged(work, versions.keys(), lambda row: is_outlived(row, versions[row["id"]]))


def end_staged(
    work: UnitOfWork,
    subcloud_ids: Collection[int],
    is_over: Callable[[RowMapping], bool],
) -> None:
    """End what those of the subclouds show as staged whose rows `is_over` picks; a prestage that failed stays shown."""
    if not subcloud_ids:
        return
    query = select(*_COLUMNS).where(subclouds.c.id.in_(subcloud_ids)).order_by(subclouds.c.id)
    over = [row for row in work.connection.execute(query).mappings() if is_over(row)]
    if not over:
        return
    values = {**NOTHING_STAGED, "prestage_status": func.nullif(subclouds.c.prestage_status, PrestageStatus.COMPLETE)}
    work.connection.execute(
        update(subclouds).where(subclouds.c.id.in_([row["id"] for row in over])).values(**values, updated_at=work.at)
    )
    for row in over:
        fields = SubcloudUpdated(fields=sorted(NOTHING_STAGED))
        work.emit("subcloud.updated", f"subcloud/{row['name']}", fields)
