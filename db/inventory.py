"""Look up and change subclouds and groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    case,
    exists,
    insert,
    or_,
    select,
    update,
)

from db.schema import controller, steps, strategies, strategy_is_active, subcloud_groups, subclouds
from messages.limits import is_id, is_number
from statemachine.eligibility import SiteStatus
from statemachine.states import STRATEGY_TYPES, Effect, StepState, StrategyState

_REMOVALS: Final = [one for one in STRATEGY_TYPES.values() if one.effect is Effect.REMOVES]
_REMOVES: Final = steps.c.type.in_([one.name for one in _REMOVALS])
# What a step means to others that want its subcloud: a removal is one from its first moment, without a strategy.
WORK: Final[ColumnElement[str]] = case(
    *((steps.c.type == one.name, one.work_state) for one in _REMOVALS), else_=steps.c.state
)

# Dispatched, or about to be: it only waits for a worker; no strategy has to be applied first.
_IS_BEGUN: Final = (steps.c.state == StepState.INITIAL) & (steps.c.run_id.is_not(None) | steps.c.strategy_id.is_(None))
# What an open step means to a new strategy.
_BUSY_WITH: Final[ColumnElement[str]] = case((_IS_BEGUN & ~_REMOVES, StepState.PRECHECK), else_=WORK)


def find(connection: Connection, table: Table, ref: str) -> RowMapping | None:
    """Return the row that `ref` names: its id when it is all digits, else its name (contract 2.1)."""
    if is_number(ref):
        if not is_id(ref):
            return None
        where = table.c.id == int(ref)
    else:
        where = table.c.name == ref
    return connection.execute(select(table).where(where)).mappings().one_or_none()


def find_group(connection: Connection, ref: str) -> RowMapping | None:
    """Return a group by id or name."""
    return find(connection, subcloud_groups, ref)


def find_subcloud(connection: Connection, ref: str) -> RowMapping | None:
    """Return a subcloud by id or name."""
    return find(connection, subclouds, ref)


def ids_of_subclouds(connection: Connection, refs: Collection[str]) -> dict[str, int]:
    """Return the ids of subclouds by the names or ids that refer to them; those of none are left out."""
    if not refs:
        return {}
    found: dict[str, int] = {}
    for name, subcloud_id in connection.execute(select(subclouds.c.name, subclouds.c.id)):
        found |= {ref: subcloud_id for ref in (name, str(subcloud_id)) if ref in refs}
    return found


def candidates(
    connection: Connection, *, group_id: int | None = None, subcloud_id: int | None = None
) -> Sequence[Mapping[str, Any]]:
    """Return subclouds with their group's defaults and what they are busy with, in id order of group and subcloud.

    All of them, or those of one group, or one.
    """
    query = (
        select(
            subclouds.c.id,
            subclouds.c.name,
            subclouds.c.group_id,
            subclouds.c.availability_status,
            subclouds.c.management_state,
            subclouds.c.deploy_status,
            subclouds.c.software_version,
            subclouds.c.error_description,
            subclouds.c.labels,
            subcloud_groups.c.update_apply_type,
            subcloud_groups.c.max_parallel_subclouds,
        )
        .join(subcloud_groups, subcloud_groups.c.id == subclouds.c.group_id)
        .order_by(subclouds.c.group_id, subclouds.c.id)
    )
    if group_id is not None:
        query = query.where(subclouds.c.group_id == group_id)
    if subcloud_id is not None:
        query = query.where(subclouds.c.id == subcloud_id)
    busy = _busy_subclouds(connection, subcloud_id)
    return [{**row, "busy_with": busy.get(row["id"])} for row in connection.execute(query).mappings()]


def _busy_subclouds(connection: Connection, subcloud_id: int | None) -> dict[int, str]:
    """Return the work of subclouds with open steps, or of the one given; of several steps the first state by name.

    Read by itself: joined to the subclouds, a planner without statistics reads it once for each of them.
    """
    query = select(steps.c.subcloud_id, _BUSY_WITH).where(
        steps.c.finished_at.is_(None), steps.c.subcloud_id.is_not(None)
    )
    if subcloud_id is not None:
        query = query.where(steps.c.subcloud_id == subcloud_id)
    busy: dict[int, str] = {}
    for owner, state in connection.execute(query):
        busy[owner] = min(busy.get(owner, state), state)
    return busy


def site_status(row: Mapping[Any, Any]) -> SiteStatus:
    """Return what the controller itself knows of a subcloud; `row` has `busy_with` beside the subcloud's columns."""
    return SiteStatus(
        name=row["name"],
        availability_status=row["availability_status"],
        management_state=row["management_state"],
        deploy_status=row["deploy_status"],
        busy_with=row["busy_with"],
    )


def add(connection: Connection, table: Table, values: Mapping[str, Any]) -> RowMapping:
    """Add a row and return it whole."""
    return connection.execute(insert(table).values(**values).returning(table)).mappings().one()


def change(connection: Connection, table: Table, row_id: int, values: Mapping[str, Any]) -> RowMapping:
    """Change a row and return it whole."""
    statement = update(table).where(table.c.id == row_id).values(**values).returning(table)
    return connection.execute(statement).mappings().one()


def is_taken(connection: Connection, table: Table, name: str, *, but_id: int | None = None) -> bool:
    """Tell whether another row has the name."""
    query = select(table.c.id).where(table.c.name == name)
    if but_id is not None:
        query = query.where(table.c.id != but_id)
    return connection.execute(query).first() is not None


def group_is_empty(connection: Connection, group_id: int) -> bool:
    """Tell whether no subcloud is in the group."""
    return not connection.execute(select(exists().where(subclouds.c.group_id == group_id))).scalar()


def has_work(connection: Connection, subcloud_id: int) -> bool:
    """Tell whether the subcloud has a step that runs or may start by itself: standalone, or of an applied strategy."""
    query = (
        select(steps.c.id)
        .outerjoin(strategies, strategies.c.id == steps.c.strategy_id)
        .where(
            steps.c.subcloud_id == subcloud_id,
            steps.c.finished_at.is_(None),
            strategy_is_active,
            strategies.c.id.is_(None)
            | strategies.c.state.in_([StrategyState.APPLYING, StrategyState.ABORT_REQUESTED, StrategyState.ABORTING]),
        )
    )
    return connection.execute(query.limit(1)).first() is not None


def declared_upgrading(connection: Connection) -> bool:
    """Return whether the operator declared the system controller busy upgrading."""
    return bool(connection.execute(select(controller.c.upgrading)).scalar())


def declare_upgrading(connection: Connection, upgrading: bool) -> None:  # noqa: FBT001 - the fact itself
    """Declare whether the system controller is busy upgrading."""
    connection.execute(update(controller).values(upgrading=upgrading))


def installation_id(connection: Connection) -> str:
    """Return the name of this installation, by which sites tell their controllers apart."""
    return str(connection.execute(select(controller.c.installation)).scalar_one())


def open_releases(connection: Connection, subcloud_id: int) -> list[str]:
    """Return the releases that the open strategy and unfinished standalone prestages have for a subcloud, sorted.

    A strategy is open until it is deleted, also when its step is complete: the site still has to prove it.
    """
    is_open = or_(
        and_(steps.c.strategy_id.is_not(None), strategy_is_active),
        and_(steps.c.strategy_id.is_(None), steps.c.finished_at.is_(None)),
    )
    found = (
        select(steps.c.release)
        .select_from(steps.outerjoin(strategies, strategies.c.id == steps.c.strategy_id))
        .where(steps.c.subcloud_id == subcloud_id, is_open)
        .distinct()
    )
    return sorted(connection.execute(found).scalars())
