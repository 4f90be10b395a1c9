"""Queries of the API in SQLAlchemy Core: rows, no rendering.

Every function takes a connection of `Database.read()`; none of them writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, cast

from sqlalchemy import (
    Connection,
    DateTime,
    Select,
    bindparam,
    func,
    or_,
    select,
    type_coerce,
)

from db.schema import (
    events,
    forecasts,
    is_among,
    runs,
    steps,
    strategies,
    strategy_is_active,
    subcloud_groups,
    subclouds,
)
from messages.event_types import RESTORED
from statemachine.states import RunOutcome, RunState, types_with
from statemachine.window import RECENT, usual_duration_s

Row = Mapping[str, Any]

# Columns of a step as callers see it. Moments as they are stored, in UTC: a thousand zones cost more than the query.
_MOMENTS: Final = ("started_at", "finished_at", "created_at", "updated_at")
SHOWN_OF_STEP: Final = (
    *(steps.c[name] for name in ("id", "strategy_id", "subcloud_name", "stage", "state", "details")),
    *(steps.c[name] for name in ("outcome", "failure_class", "problem", "cancel_requested_by", "proved_by", "series")),
    *(steps.c[name] for name in ("release", "from_version", "run_id", "subcloud_id", "attempt")),
    *(type_coerce(steps.c[name], DateTime()).label(name) for name in _MOMENTS),
)


# Statements of what is read again and again are built once: building them anew costs more than to send them.
_ACTIVE: Final = select(strategies).where(strategy_is_active)
_ACTIVE_STEP: Final = (
    select(*SHOWN_OF_STEP, strategies.c.state.label("strategy_state"), strategies.c.mode)
    .select_from(steps.join(strategies, steps.c.strategy_id == strategies.c.id))
    .where(strategy_is_active, steps.c.subcloud_name == bindparam("named", type_=steps.c.subcloud_name.type))
)


def active_strategy(connection: Connection) -> Row | None:
    """Return the only strategy that is not history."""
    return _first(connection, _ACTIVE)


def active_step(connection: Connection, name: str) -> Row | None:
    """Return the step of the subcloud called `name` in the active strategy, with `strategy_state` and `mode` of that.

    An id is not accepted.
    """
    return cast("Row | None", connection.execute(_ACTIVE_STEP, {"named": name}).mappings().first())


_GROUPS: Final = (
    select(subclouds.c.id, subcloud_groups.c.name)
    .join(subcloud_groups, subcloud_groups.c.id == subclouds.c.group_id)
    .where(is_among(subclouds.c.id, "wanted"))
)
_OPEN_RUNS: Final = select(
    runs.c.id, runs.c.state, runs.c.attempt, runs.c.owner, runs.c.started_at, runs.c.dispatched_at, runs.c.phase
).where(is_among(runs.c.id, "wanted"), runs.c.state != RunState.FINISHED)
_PLACE: Final = func.row_number().over(partition_by=(steps.c.subcloud_id, runs.c.phase), order_by=runs.c.id.desc())
# From the steps of the sites, then the runs of each step, both by index.
_EARLIER: Final = (
    select(steps.c.subcloud_id, runs.c.phase, runs.c.started_at, runs.c.finished_at, _PLACE.label("place"))
    .join_from(steps, runs, runs.c.step_id == steps.c.id)
    .where(
        is_among(steps.c.subcloud_id, "wanted"),
        runs.c.outcome == RunOutcome.SUCCEEDED,
        runs.c.started_at.is_not(None),
        runs.c.finished_at.is_not(None),
    )
    .subquery()
)
# No more than count: a site may have a long history.
_LATEST_RUNS: Final = select(_EARLIER).where(_EARLIER.c.place <= RECENT).order_by(_EARLIER.c.place)
_USUAL: Final = select(forecasts.c.strategy_id, forecasts.c.usual)


class StepWork(TypedDict):
    """The group of a step's subcloud, and the run of its phase.

    `worker` is the name of the process that has the run. `usual_s` is how many seconds the phase usually takes: at this
    site, or where it has done it never, at the others.
    """

    group: str | None
    run_state: str | None
    worker: str | None
    attempt: int
    # Since when the run goes on or, where no worker has it, waits.
    since: datetime | None
    usual_s: float | None


def works_of_steps(connection: Connection, rows: Iterable[Mapping[Any, Any]]) -> dict[int, StepWork]:
    """Return the group and the work of steps by their ids; only those in flight have a run."""
    found = list(rows)
    groups = _by_id(connection, _GROUPS, [row["subcloud_id"] for row in found])
    open_runs = _by_id(connection, _OPEN_RUNS, [row["run_id"] for row in found])
    usual_s = _usual_seconds(
        connection, [(row, open_runs[row["run_id"]]) for row in found if row["run_id"] in open_runs]
    )
    return {
        row["id"]: _work(row, groups.get(row["subcloud_id"]), open_runs.get(row["run_id"]), usual_s.get(row["id"]))
        for row in found
    }


def _usual_seconds(connection: Connection, working: Sequence[tuple[Mapping[Any, Any], Row]]) -> dict[int, float | None]:
    """Return the usual seconds of the phases of open runs, by the ids of their steps; None: not known."""
    sites = sorted({step["subcloud_id"] for step, _run in working if step["subcloud_id"] is not None})
    own: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    for row in connection.execute(_LATEST_RUNS, {"wanted": sites}) if sites else ():
        own[row.subcloud_id, row.phase].append((row.finished_at - row.started_at).total_seconds())
    others = {row.strategy_id: row.usual for row in connection.execute(_USUAL)} if working else {}
    found: dict[int, float | None] = {}
    for step, run in working:
        durations_s = own.get((step["subcloud_id"], run["phase"]))
        of_others = others.get(step["strategy_id"], {}).get(run["phase"])
        found[step["id"]] = round(usual_duration_s(durations_s), 1) if durations_s else of_others
    return found


def _by_id(connection: Connection, query: Select[Any], ids: Iterable[int | None]) -> dict[int | None, Row]:
    wanted = [one for one in ids if one is not None]
    rows = connection.execute(query, {"wanted": wanted}).mappings() if wanted else ()
    return {row["id"]: cast("Row", row) for row in rows}


def _work(step: Mapping[Any, Any], group: Row | None, run: Row | None, usual_s: float | None) -> StepWork:
    name = None if group is None else group["name"]
    if run is None:
        return StepWork(group=name, run_state=None, worker=None, attempt=step["attempt"], since=None, usual_s=None)
    return StepWork(
        group=name,
        run_state=run["state"],
        worker=worker_name(run["owner"]),
        attempt=run["attempt"],
        since=run["started_at"] or datetime.fromtimestamp(run["dispatched_at"], UTC),
        usual_s=usual_s,
    )


def worker_name(owner: str | None) -> str | None:
    """Return the name of the worker in the owner of a run, which is `name@machine/id`; None stays None."""
    return owner.rpartition("@")[0] if owner else None


def step_by_id(connection: Connection, step_id: int) -> Row | None:
    """Return a step of any strategy or standalone; None when it is no longer kept."""
    return _first(connection, select(steps).where(steps.c.id == step_id))


def all_groups(connection: Connection) -> list[Row]:
    """Return every group in the order of ids, each with its `subcloud_count`."""
    counts = (
        select(subclouds.c.group_id, func.count().label("subcloud_count")).group_by(subclouds.c.group_id).subquery()
    )
    joined = subcloud_groups.outerjoin(counts, subcloud_groups.c.id == counts.c.group_id)
    counted = func.coalesce(counts.c.subcloud_count, 0).label("subcloud_count")
    return _all(connection, select(subcloud_groups, counted).select_from(joined).order_by(subcloud_groups.c.id))


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


def _first(connection: Connection, statement: Select[Any]) -> Row | None:
    return cast("Row | None", connection.execute(statement).mappings().first())


def _all(connection: Connection, statement: Select[Any]) -> list[Row]:
    return cast("list[Row]", connection.execute(statement).mappings().all())


def strategies_page(connection: Connection, *, before: int | None, limit: int) -> list[Row]:
    """Return the newest strategies, deleted ones too, at most `limit`, with ids below `before`."""
    query = select(strategies).order_by(strategies.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(strategies.c.id < before)
    return cast("list[Row]", connection.execute(query).mappings().all())


def past_strategy(connection: Connection, strategy_id: int) -> Row | None:
    """Return one strategy, deleted or not."""
    query = select(strategies).where(strategies.c.id == strategy_id)
    return cast("Row | None", connection.execute(query).mappings().first())


def retries_of(connection: Connection, strategy_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return for each strategy that was retried the ids of the strategies that retry it, in their order."""
    found: dict[int, list[int]] = defaultdict(list)
    query = select(strategies.c.retry_of, strategies.c.id).where(strategies.c.retry_of.in_(strategy_ids))
    for row in connection.execute(query.order_by(strategies.c.id)):
        found[row.retry_of].append(row.id)
    return found


def newest_event_id(connection: Connection) -> int:
    """Return the number of the newest event; 0 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def oldest_event_id(connection: Connection) -> int | None:
    """Return the number of the oldest event that is still kept; None when there is none."""
    return cast("int | None", connection.execute(select(func.min(events.c.id))).scalar())


def was_restored_after(connection: Connection, seen: int) -> bool:
    """Return whether the database was restored from a backup after event number `seen`."""
    query = select(events.c.id).where(events.c.id > seen, events.c.type == RESTORED)
    return connection.execute(query.limit(1)).first() is not None


def events_after(connection: Connection, seen: int, limit: int) -> list[Row]:
    """Return the events after number `seen`, at most `limit`, in their order."""
    query = select(events).where(events.c.id > seen).order_by(events.c.id).limit(limit)
    return cast("list[Row]", connection.execute(query).mappings().all())
