"""Queries of the API in SQLAlchemy Core: rows, no rendering.

Every function takes a connection of `Database.read()`; none of them writes.
A `ref` is an id when it is all digits, otherwise a name (contract 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, Table, false, func, or_, select

from db.schema import steps, strategies, subcloud_groups, subclouds
from messages.limits import is_id, is_number
from statemachine.phases import types_with

Row = Mapping[str, Any]


def active_strategy(connection: Connection) -> Row | None:
    """Return the only strategy that is not history."""
    return _first(connection, select(strategies).where(strategies.c.deleted_at.is_(None)))


def active_steps(connection: Connection) -> list[Row]:
    """Return the steps of the active strategy in the order of their ids; none without a strategy."""
    return _all(connection, _active_steps().order_by(steps.c.id))


def active_step(connection: Connection, name: str) -> Row | None:
    """Return the step of the subcloud called `name` in the active strategy; an id is not accepted."""
    return _first(connection, _active_steps().where(steps.c.subcloud_name == name))


def _active_steps() -> Select[Any]:
    active = steps.join(strategies, steps.c.strategy_id == strategies.c.id)
    return select(steps).select_from(active).where(strategies.c.deleted_at.is_(None))


def all_subclouds(connection: Connection) -> list[Row]:
    """Return every subcloud in the order of ids."""
    return _all(connection, select(subclouds).order_by(subclouds.c.id))


def subcloud(connection: Connection, ref: str) -> Row | None:
    """Return one subcloud by id or name."""
    return _first(connection, select(subclouds).where(_is(subclouds, ref)))


def all_groups(connection: Connection) -> list[Row]:
    """Return every group in the order of ids, each with its `subcloud_count`."""
    counts = (
        select(subclouds.c.group_id, func.count().label("subcloud_count")).group_by(subclouds.c.group_id).subquery()
    )
    joined = subcloud_groups.outerjoin(counts, subcloud_groups.c.id == counts.c.group_id)
    counted = func.coalesce(counts.c.subcloud_count, 0).label("subcloud_count")
    return _all(connection, select(subcloud_groups, counted).select_from(joined).order_by(subcloud_groups.c.id))


def group(connection: Connection, ref: str) -> Row | None:
    """Return one group by id or name."""
    return _first(connection, select(subcloud_groups).where(_is(subcloud_groups, ref)))


def subclouds_of_group(connection: Connection, group_id: int) -> list[Row]:
    """Return the subclouds of a group in the order of ids."""
    return _all(connection, select(subclouds).where(subclouds.c.group_id == group_id).order_by(subclouds.c.id))


def latest_step(connection: Connection, name: str, phase: str | None = None) -> Row | None:
    """Return the step of the subcloud called `name` that started last, of any strategy or standalone.

    With `phase` that is the last one of a type that has this phase, if there is one: a removal does not hide what a
    prestage printed. A step that has not started has printed nothing; until it does, the one before is the one to read
    about. Falls back to the newest step when none has started.
    """
    found = _latest(connection, name, phase)
    return found if found is not None or phase is None else _latest(connection, name, None)


def _latest(connection: Connection, name: str, phase: str | None) -> Row | None:
    named = select(steps).where(steps.c.subcloud_name == name, steps.c.type.in_(types_with(phase)))
    started = named.where(steps.c.started_at.is_not(None)).order_by(steps.c.started_at.desc(), steps.c.id.desc())
    return _first(connection, started.limit(1)) or _first(connection, named.order_by(steps.c.id.desc()).limit(1))


def step_to_follow(connection: Connection, name: str, phase: str | None = None) -> Row | None:
    """Return the step of the subcloud called `name` that is open, if there is one, otherwise the latest.

    With `phase` only steps of a type that has this phase count.
    """
    opened = (steps.c.subcloud_name == name, steps.c.finished_at.is_(None), steps.c.type.in_(types_with(phase)))
    newest = _first(connection, _followed().where(*opened).order_by(steps.c.id.desc()).limit(1))
    return newest if newest is not None and not newest["is_over"] else latest_step(connection, name, phase)


def followed_step(connection: Connection, step_id: int) -> Row | None:
    """Return a step with `is_over`, whether nothing more will come of it; None when it is no longer kept."""
    return _first(connection, _followed().where(steps.c.id == step_id))


def _followed() -> Select[Any]:
    # Steps of a strategy that was deleted before it was applied never end.
    is_over = or_(steps.c.finished_at.is_not(None), strategies.c.deleted_at.is_not(None)).label("is_over")
    return select(steps, is_over).select_from(steps.outerjoin(strategies, steps.c.strategy_id == strategies.c.id))


def _is(table: Table, ref: str) -> ColumnElement[bool]:
    if not is_number(ref):
        return table.c.name == ref
    return table.c.id == int(ref) if is_id(ref) else false()


def _first(connection: Connection, statement: Select[Any]) -> Row | None:
    return cast("Row | None", connection.execute(statement).mappings().first())


def _all(connection: Connection, statement: Select[Any]) -> list[Row]:
    return cast("list[Row]", connection.execute(statement).mappings().all())
