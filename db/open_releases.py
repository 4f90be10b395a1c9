"""Releases of a subcloud that steps which are not history are about."""

from __future__ import annotations

from sqlalchemy import Connection, and_, or_, select

from db.schema import steps, strategies


def open_releases(connection: Connection, subcloud_id: int) -> list[str]:
    """Return the releases that the open strategy and unfinished standalone prestages have for a subcloud, sorted.

    A strategy is open until it is deleted, also when its step is complete: the site still has to prove it.
    """
    is_open = or_(
        and_(steps.c.strategy_id.is_not(None), strategies.c.deleted_at.is_(None)),
        and_(steps.c.strategy_id.is_(None), steps.c.finished_at.is_(None)),
    )
    found = (
        select(steps.c.release)
        .select_from(steps.outerjoin(strategies, strategies.c.id == steps.c.strategy_id))
        .where(steps.c.subcloud_id == subcloud_id, is_open)
        .distinct()
    )
    return sorted(connection.execute(found).scalars())
