"""Metrics read from database and broker at a scrape, by coordinators only: each process would count the same.

A scrape never waits long and never fails: while the database is away its series are missing and
`prestager_database_up` is 0, and likewise `prestager_broker_up` for the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime
from itertools import product
from threading import Lock
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from db.database import Database
from db.forecasts import read_forecasts
from db.holds import can_move, hold_clock, open_holds
from db.read_queries import active_strategy
from db.schema import (
    database_now,
    events,
    holds,
    outbox,
    problems,
    runs,
    steps,
    strategies,
    strategy_is_active,
    subclouds,
    webhook_deliveries,
    webhooks,
)
from db.strategy_progress import step_progress
from statemachine.rollout import HoldKind, StepOutcome, StepProgress
from statemachine.states import PHASES, RunState, StepState

# Kind of the holds of single sites.
_SITE: Final = "site"
# How long a result is good, in seconds.
_DATABASE_KEPT_S: Final = 5.0
_BROKER_KEPT_S: Final = 60.0
# Prometheus waits 10 s for all metrics of a scrape.
_WAIT_S: Final = 3.0

_T = TypeVar("_T")

# Name and help of a metric, its labels, and its values by those labels.
Fact = tuple[str, str, tuple[str, ...], Mapping[tuple[str, ...], float]]
Facts = list[Fact]


class CachedQuery(Generic[_T]):
    """Calls `read` in a thread of its own; a result is good for `kept_s` seconds, so many scrapers cost one query.

    A scrape that waits too long is given up by Prometheus, with all metrics of this process. So it waits for 3 s at
    most. `name` is that of the thread, `clock` gives seconds that never jump.
    """

    def __init__(
        self, read: Callable[[], _T], *, name: str, kept_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._read = read
        self._kept_s = kept_s
        self._clock = clock
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._pending: Future[_T] | None = None
        self._known: _T | None = None
        self._read_at = float("-inf")

    def result(self) -> _T | None:
        """Return the result; None when reading fails or takes more than 3 s, and the next call reads again."""
        with self._lock:
            if self._known is not None and self._clock() - self._read_at < self._kept_s:
                return self._known
            # A result that did not come in time is still waited for: one query at a time.
            if self._pending is None:
                self._pending = self._thread.submit(self._read)
            try:
                self._known = self._pending.result(_WAIT_S)
            except FutureTimeoutError:
                if not self._pending.done():
                    return None
                # The query itself raised it.
                self._known = None
            except Exception:  # noqa: BLE001 - whatever is wrong, a scrape goes on
                self._known = None
            self._pending = None
            self._read_at = self._clock()
            return self._known

    def close(self) -> None:
        """Read no more. Repeating it does nothing."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class DatabaseMetrics(Collector):
    """Gauges from the database; `clock` gives seconds that never jump."""

    def __init__(self, database: Database, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._query = CachedQuery(self._read, name="database-metrics", kept_s=_DATABASE_KEPT_S, clock=clock)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry would query the database at the start."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        facts = self._query.result()
        up = GaugeMetricFamily("prestager_database_up", "Whether the database answered at this scrape.")
        up.add_metric((), 0.0 if facts is None else 1.0)
        yield up
        for name, text, labels, values in facts or ():
            family = GaugeMetricFamily(name, text, labels=labels)
            for given, value in sorted(values.items()):
                family.add_metric(given, value)
            yield family

    def close(self) -> None:
        """Read no more. Repeating it does nothing."""
        self._query.close()

    def _read(self) -> Facts:
        with self._database.read() as connection:
            return [
                *_strategy(connection),
                *_progress(connection),
                *_failures(connection),
                *_holds(connection),
                *_work(connection),
                *_backlog(connection),
                *_sites(connection),
                *_webhooks(connection),
            ]


class DeadLetterMetrics(Collector):
    """Gauges of the dead letters, read from the broker at most once a minute; `counts` raises while it is away."""

    def __init__(self, counts: Callable[[], Mapping[str, int | None]], clock: Callable[[], float] = monotonic) -> None:
        self._query = CachedQuery(counts, name="dead-letters", kept_s=_BROKER_KEPT_S, clock=clock)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry would query the broker at the start."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; none while the broker is away."""
        known = self._query.result()
        up = GaugeMetricFamily("prestager_broker_up", "Whether the broker answered when it was asked last.")
        up.add_metric((), 0.0 if known is None else 1.0)
        yield up
        letters = GaugeMetricFamily("prestager_dead_letters", "Messages nobody could deal with.", labels=("queue",))
        for queue, count in (known or {}).items():
            if count is not None:
                letters.add_metric((queue,), float(count))
        yield letters

    def close(self) -> None:
        """Read no more. Repeating it does nothing."""
        self._query.close()


def _strategy(connection: Connection) -> Facts:
    row = connection.execute(
        select(strategies.c.id, strategies.c.state, strategies.c.created_at).where(strategy_is_active)
    ).one_or_none()
    if row is None:
        return [("prestager_strategy", "The active strategy by its state; always 1.", ("state",), {})]
    mine = steps.c.strategy_id == row.id
    states = connection.execute(select(steps.c.state, func.count()).where(mine).group_by(steps.c.state))
    stage = select(func.min(steps.c.stage)).where(mine, steps.c.finished_at.is_(None)).scalar_subquery()
    begun: ColumnElement[bool] = and_(
        steps.c.finished_at.is_(None), or_(steps.c.state != StepState.INITIAL, steps.c.run_id.is_not(None))
    )
    window = connection.execute(
        select(func.count(), func.coalesce(func.sum(case((begun, 1), else_=0)), 0)).where(mine, steps.c.stage == stage)
    ).one()
    moved = connection.execute(
        select(func.max(func.coalesce(steps.c.updated_at, steps.c.created_at), type_=steps.c.created_at.type)).where(
            mine
        )
    ).scalar()
    released = connection.execute(
        select(func.max(holds.c.ended_at, type_=holds.c.ended_at.type)).where(holds.c.strategy_id == row.id)
    ).scalar()
    return [
        ("prestager_strategy", "The active strategy by its state; always 1.", ("state",), {(row.state,): 1.0}),
        (
            "prestager_strategy_steps",
            "Steps of the active strategy.",
            ("state",),
            {(state,): float(count) for state, count in states},
        ),
        ("prestager_window_limit", "Steps of the current stage.", (), {(): float(window[0])}),
        ("prestager_window_used", "Steps of the current stage that are being worked on.", (), {(): float(window[1])}),
        (
            "prestager_strategy_progress_timestamp_seconds",
            "When a step of the active strategy changed, or a hold of it ended, last.",
            (),
            {(): max(filter(None, (moved, released)), default=row.created_at).timestamp()},
        ),
    ]


def _progress(connection: Connection) -> Facts:
    row = active_strategy(connection)
    counts: dict[tuple[str, ...], float] = {}
    left: dict[tuple[str, ...], float] = {}
    if row is not None:
        numbers = step_progress(connection, [row["id"]])[row["id"]].numbers
        # A series that is missing looks like a scrape that failed.
        counts = {(str(word),): float(numbers[word]) for word in (*StepProgress, *StepOutcome)}
        expected = read_forecasts(connection, [row], open_holds(connection, [row["id"]]))[row["id"]]
        if expected is not None and expected.ends is not None:
            now = float(connection.execute(select(database_now())).scalar_one())
            left = {(): max(0.0, expected.ends[1].timestamp() - now)}
    text = "Steps of the active strategy by how far they are."
    return [
        ("prestager_strategy_progress_steps", text, ("progress",), counts),
        ("prestager_strategy_eta_seconds", "Seconds until the likely end of the active strategy (p50).", (), left),
    ]


def _failures(connection: Connection) -> Facts:
    of_active = problems.c.strategy_id.in_(select(strategies.c.id).where(strategy_is_active))
    labels: tuple[Any, ...] = (problems.c.phase, problems.c.failure_class)
    # The condition in the words of the partial index.
    has_problem = and_(steps.c.strategy_id == problems.c.strategy_id, steps.c.problem.is_not(None))
    found = connection.execute(
        select(*labels, func.count())
        .join(steps, and_(has_problem, steps.c.problem == problems.c.id))
        .where(of_active)
        .group_by(*labels)
    )
    counts: dict[tuple[str, ...], float] = {(row[0], row[1]): float(row[2]) for row in found}
    text = "Steps of the active strategy that did not succeed, by phase and class of the failure."
    return [("prestager_strategy_failures", text, ("phase", "class"), counts)]


def _holds(connection: Connection) -> Facts:
    of_active = holds.c.strategy_id.in_(select(strategies.c.id).where(strategy_is_active))
    kind = case((holds.c.step_id.is_not(None), _SITE), else_=holds.c.kind).label("kind")
    oldest = func.min(holds.c.since, type_=holds.c.since.type)
    is_open = and_(of_active, holds.c.ended_at.is_(None))
    found = connection.execute(select(kind, func.count(), oldest).where(is_open).group_by(kind)).all()
    # A series that is missing looks like a scrape that failed.
    counts: dict[tuple[str, ...], float] = {(one,): 0.0 for one in (*HoldKind, _SITE)}
    ages = dict(counts)
    now = hold_clock(connection) if found else None
    for row in found:
        counts[row[0],] = float(row[1])
        ages[row[0],] = max(0.0, (now - row[2]).total_seconds()) if now is not None else 0.0
    movable = connection.execute(
        select(func.count()).select_from(steps.join(strategies)).where(strategy_is_active, can_move(strategies.c.id))
    ).scalar_one()
    return [
        (
            "prestager_strategy_holds",
            "Open holds of the active strategy by their kind; site: of a single site.",
            ("kind",),
            counts,
        ),
        (
            "prestager_strategy_hold_seconds",
            "Age of the oldest open hold of the active strategy by its kind; 0: there is none.",
            ("kind",),
            ages,
        ),
        (
            "prestager_strategy_movable_steps",
            "Open steps of the active strategy that no hold keeps from moving.",
            (),
            {(): float(movable)},
        ),
    ]


def _work(connection: Connection) -> Facts:
    found = connection.execute(
        select(runs.c.phase, runs.c.state, func.count())
        .where(~runs.c.consumed, runs.c.state.in_((RunState.QUEUED, RunState.RUNNING)))
        .group_by(runs.c.phase, runs.c.state)
    )
    # A series that is missing looks like a scrape that failed.
    counts: dict[tuple[str, ...], float] = dict.fromkeys(product(PHASES, (RunState.QUEUED, RunState.RUNNING)), 0.0)
    counts |= {(phase, state): float(count) for phase, state, count in found}
    workers = connection.execute(
        select(func.count(func.distinct(runs.c.owner))).where(~runs.c.consumed, runs.c.state == RunState.RUNNING)
    ).scalar_one()
    return [
        ("prestager_runs", "Runs that wait for a worker or are being worked on.", ("phase", "state"), counts),
        ("prestager_workers_at_work", "Workers that hold a run.", (), {(): float(workers)}),
    ]


def _backlog(connection: Connection) -> Facts:
    rows, age = connection.execute(
        select(func.count(), func.coalesce(func.max(database_now() - outbox.c.written_at), 0.0)).select_from(outbox)
    ).one()
    unpublished = connection.execute(select(func.count()).select_from(events).where(~events.c.published)).scalar_one()
    return [
        ("prestager_outbox_rows", "Messages that were decided and not published yet.", (), {(): float(rows)}),
        ("prestager_outbox_lag_seconds", "Age of the oldest of them.", (), {(): max(0.0, float(age))}),
        ("prestager_events_unpublished", "Events that were not published yet.", (), {(): float(unpublished)}),
    ]


def _sites(connection: Connection) -> Facts:
    columns: tuple[Any, ...] = (subclouds.c.management_state, subclouds.c.availability_status)
    found = connection.execute(select(*columns, func.count()).group_by(*columns))
    counts: dict[tuple[str, ...], float] = {(row[0], row[1]): float(row[2]) for row in found}
    return [("prestager_subclouds", "Subclouds.", ("management_state", "availability_status"), counts)]


def _webhooks(connection: Connection) -> Facts:
    kind = case(
        (webhooks.c.enabled, "enabled"), (webhooks.c.disabled_reason != "", "given-up"), else_="disabled"
    ).label("kind")
    kinds: dict[tuple[str, ...], float] = {("enabled",): 0.0, ("disabled",): 0.0, ("given-up",): 0.0}
    kinds |= {(row[0],): float(row[1]) for row in connection.execute(select(kind, func.count()).group_by(kind))}
    waiting = webhook_deliveries.c.next_attempt_at.is_not(None)
    made_at = webhook_deliveries.c.created_at
    count, oldest = connection.execute(select(func.count(), func.min(made_at, type_=made_at.type)).where(waiting)).one()
    age = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
    return [
        (
            "prestager_webhooks",
            "Webhooks: enabled, disabled by somebody, given up because nothing was taken in.",
            ("state",),
            kinds,
        ),
        ("prestager_webhook_deliveries_open", "Deliveries that are still to be made.", (), {(): float(count)}),
        ("prestager_webhook_oldest_open_seconds", "Age of the oldest of them.", (), {(): max(0.0, age)}),
    ]
