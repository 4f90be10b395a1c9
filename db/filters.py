"""Lists of steps and subclouds, whole or narrowed by filters, in the order of ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, Integer, Select, bindparam, or_, select, text

from db.database import begin_reading
from db.read_queries import SHOWN_OF_STEP, Row
from db.schema import runs, steps, strategies, strategy_is_active, subclouds
from statemachine.selector import Operator, Selector, Term

_LIKE_SPECIALS: Final = "\\%_"
# Until the end of the transaction.
_NO_SORTING: Final = text("SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)")


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """Filters of a list; the default leaves the whole list.

    Attributes:
        states: States of steps; empty: any. So are the four below.

        outcomes: Outcomes of steps.

        classes: Classes of failures.

        run_states: States of the open run of a step.

        problem: Fingerprint of a problem; None: any.

        stage: Stage of steps; None: any.

        group_id: Group that the subcloud is in now; None: any.

        cloud: Name of the subcloud, in which `*` stands for any text and `?` for any one character; None: any.

        selector: Matches the labels that the subcloud has now; None: any.

        after: Only ids above this one.

        limit: Most rows; None: all.
    """

    states: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    run_states: tuple[str, ...] = ()
    problem: str | None = None
    stage: int | None = None
    group_id: int | None = None
    cloud: str | None = None
    selector: Selector | None = None
    after: int = 0
    limit: int | None = None


_STRATEGY: Final = bindparam("of_strategy", type_=steps.c.strategy_id.type)
# Built once, for a page reads its list again and again; filters are added.
_ALL_STEPS: Final = select(*SHOWN_OF_STEP).where(steps.c.strategy_id == _STRATEGY).order_by(steps.c.id)
# With a range and this order no other index than that of pages gives the rows sorted. A planner that knows little of
# the table would else sort all steps, or pass those of all strategies before, for one page.
_PAGE_OF_STEPS: Final = (
    select(*SHOWN_OF_STEP)
    .where(
        steps.c.strategy_id >= _STRATEGY,
        steps.c.strategy_id <= _STRATEGY,
        steps.c.id > bindparam("after", type_=steps.c.id.type),
    )
    .order_by(steps.c.strategy_id, steps.c.id)
    .limit(bindparam("most", type_=Integer()))
)


def listed_steps(connection: Connection, strategy_id: int, wanted: RowFilter) -> list[Row]:
    """Return the steps of a strategy that a filter leaves; a step whose subcloud was removed has no group or label."""
    given: dict[str, Any] = {"of_strategy": strategy_id}
    query = _ALL_STEPS
    if wanted.limit is not None:
        query = _PAGE_OF_STEPS
        given |= {"after": wanted.after, "most": wanted.limit}
        _forbid_sorting(connection)
    elif wanted.after:
        query = query.where(steps.c.id > wanted.after)
    conditions = _of_steps(wanted)
    if wanted.cloud is not None:
        conditions.append(_is_called(connection, steps.c.subcloud_name, wanted.cloud))
    of_subcloud = _of_subclouds(wanted)
    if of_subcloud:
        conditions.append(steps.c.subcloud_id.in_(select(subclouds.c.id).where(*of_subcloud)))
    if conditions:
        query = query.where(*conditions)
    return cast("list[Row]", connection.execute(query, given).mappings().all())


def standalone_steps(connection: Connection, *, cloud: str | None, before: int | None, limit: int) -> list[Row]:
    """Return the newest steps of no strategy, at most `limit`, with `type` and ids below `before`.

    `cloud` is a name, in which `*` stands for any text and `?` for any one character; None: any.
    """
    query = select(*SHOWN_OF_STEP, steps.c.type).where(steps.c.strategy_id.is_(None))
    if cloud is not None and any(one in cloud for one in "*?"):
        query = query.where(_is_called(connection, steps.c.subcloud_name, cloud))
    if cloud is None or any(one in cloud for one in "*?"):
        # The order of the index of pages, backwards; a name has an index of its own.
        query = query.order_by(steps.c.strategy_id.desc())
        _forbid_sorting(connection)
    else:
        query = query.where(steps.c.subcloud_name == cloud)
    if before is not None:
        query = query.where(steps.c.id < before)
    return cast("list[Row]", connection.execute(query.order_by(steps.c.id.desc()).limit(limit)).mappings().all())


def listed_subclouds(connection: Connection, wanted: RowFilter) -> list[Row]:
    """Return the subclouds that a filter leaves; filters of steps are about their step in the active strategy."""
    query = select(subclouds).where(*_of_subclouds(wanted))
    if wanted.cloud is not None:
        query = query.where(_is_called(connection, subclouds.c.name, wanted.cloud))
    of_steps = _of_steps(wanted)
    if of_steps:
        active = select(strategies.c.id).where(strategy_is_active).scalar_subquery()
        query = query.where(
            subclouds.c.id.in_(select(steps.c.subcloud_id).where(steps.c.strategy_id == active, *of_steps))
        )
    return _page(connection, query, subclouds.c.id, wanted)


def _forbid_sorting(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        begin_reading(connection)
        connection.execute(_NO_SORTING)


def _of_steps(wanted: RowFilter) -> list[ColumnElement[bool]]:
    chosen = (
        (steps.c.state, wanted.states),
        (steps.c.outcome, wanted.outcomes),
        (steps.c.failure_class, wanted.classes),
    )
    conditions: list[ColumnElement[bool]] = [column.in_(values) for column, values in chosen if values]
    if wanted.run_states:
        run = select(runs.c.id).where(runs.c.id == steps.c.run_id, runs.c.state.in_(wanted.run_states))
        conditions.append(run.exists())
    if wanted.problem is not None:
        conditions.append(steps.c.problem == wanted.problem)
    if wanted.stage is not None:
        conditions.append(steps.c.stage == wanted.stage)
    return conditions


def _of_subclouds(wanted: RowFilter) -> list[ColumnElement[bool]]:
    conditions = [] if wanted.selector is None else [_holds(term) for term in wanted.selector.terms]
    if wanted.group_id is not None:
        conditions.append(subclouds.c.group_id == wanted.group_id)
    return conditions


def _holds(term: Term) -> ColumnElement[bool]:
    label: ColumnElement[str] = subclouds.c.labels[term.key].as_string()
    match term.operator:
        case Operator.EQUALS | Operator.IN:
            return label.in_(sorted(term.values))
        case Operator.DIFFERS:
            return or_(label.is_(None), label.not_in(sorted(term.values)))
        case Operator.PRESENT:
            return label.is_not(None)
        case Operator.ABSENT:
            return label.is_(None)


def _is_called(connection: Connection, name: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Return the condition that a name fits a pattern, in the same case, in what the database does fast."""
    if connection.dialect.name == "sqlite":
        return name.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))
    escaped = "".join(f"\\{one}" if one in _LIKE_SPECIALS else one for one in pattern)
    return name.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")


def _page(connection: Connection, query: Select[Any], row_id: ColumnElement[int], wanted: RowFilter) -> list[Row]:
    if wanted.after:
        query = query.where(row_id > wanted.after)
    query = query.order_by(row_id).limit(wanted.limit)
    return cast("list[Row]", connection.execute(query).mappings().all())
