"""Forecaster: works out when a strategy is likely to end, every few seconds beside the passes of the coordinator.

It takes no lock of the coordinator. What a forecast needs is read from the partial indexes of the steps that are worked
on or wait, and from the newest runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Final

from sqlalchemy import Connection, and_, func, select, update

from db.database import Database
from db.forecasts import Forecast, held_back, keep_forecast
from db.heartbeats import is_alive
from db.holds import open_holds, site_holds
from db.load_strategy import load_strategy
from db.read_queries import Row, active_strategy
from db.schema import (
    database_now,
    forecasts,
    heartbeats,
    preparations,
    runs,
    step_has_begun,
    step_has_ended,
    step_is_in_flight,
    step_is_initial,
    step_is_open,
    steps,
    strategies,
    strategy_is_active,
)
from db.strategy_progress import blocking_sites, step_progress
from db.unit_of_work import UnitOfWork, unit_of_work
from messages.event_types import STRATEGY_PROGRESS
from messages.schemas import Progress
from messages.serializers import progress_resource
from statemachine.admission import is_halted
from statemachine.forecast import FEWEST_RUNS, BegunSite, RunTime, StageLeft, TimeLeft, WorkLeft, forecast, phases_left
from statemachine.rollout import HoldKind, RolloutMode, StepOutcome, StepProgress
from statemachine.snapshot import StrategyView
from statemachine.states import MOVING_STRATEGIES, SHARED_PHASES, STRATEGY_TYPES, RunOutcome, RunState

# Seconds between two forecasts.
FORECAST_S: Final = 15.0
# Seconds over which the pace is taken.
_PACE_S: Final = 300.0
# Newest runs that durations are taken from, and how old those of other strategies may be.
_RUNS: Final = 1000
_OLDEST: Final = timedelta(days=90)

# Keys of the progress whose change listeners are told of.
_NEWS: Final = frozenset({"total", "eta-missing", *StepProgress, *StepOutcome})

_TOO_FEW: Final = "too few sites have ended"

_WAITS: Final = and_(step_is_open, step_is_initial, steps.c.run_id.is_(None))
_IN_FLIGHT: Final = and_(step_is_open, step_is_in_flight)
_PARKED: Final = and_(step_is_open, step_has_begun, steps.c.run_id.is_(None))
# Outcomes of runs that say how long a phase takes, and whether its site went on.
_TELLING: Final = {RunOutcome.SUCCEEDED: True, RunOutcome.SKIPPED: False, RunOutcome.FAILED: False}


class Forecaster:
    """Makes the forecast of the active strategy."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self) -> None:
        """Write the forecast of the active strategy, while its steps move, and emit its progress.

        Repeating it writes a newer one, and emits no event unless a step has moved.

        Raises:
            DatabaseUnavailableError: The database is away.
        """
        with self._database.read(is_one_moment=True) as connection:
            row = active_strategy(connection)
            if row is None or row["state"] not in MOVING_STRATEGIES:
                return
            now = float(connection.execute(select(database_now())).scalar_one())
            situation = _Situation(connection, row, now)
            counted = step_progress(connection, [row["id"]])[row["id"]]
            blocked_by = blocking_sites(connection, row)
        # Neither a connection nor a lock is held meanwhile.
        made = situation.forecast()
        with unit_of_work(self._database) as work:
            # Until the commit it cannot end: no listener is told of its progress after its end.
            still_moves = (strategies.c.state.in_(MOVING_STRATEGIES), strategy_is_active)
            query = select(strategies.c.id).where(strategies.c.id == row["id"], *still_moves)
            if work.connection.execute(query.with_for_update(read=True)).first() is None:
                return
            if keep_forecast(work.connection, row["id"], now, made):
                shown = held_back(made, row, situation.holds)
                _tell_progress(work, row["id"], progress_resource(counted, blocked_by, shown))


def _tell_progress(work: UnitOfWork, strategy_id: int, progress: Progress) -> None:
    """Emit the progress of a strategy, unless counts and reason are those of the last event; a newer end is no news.

    There are never more of these events than changes of steps and holds, each of which has an event of its own.
    """
    news = {key: value for key, value in progress.items() if key in _NEWS}
    row = forecasts.c.strategy_id == strategy_id
    if work.connection.execute(select(forecasts.c.told).where(row)).scalar_one() != news:
        work.emit(STRATEGY_PROGRESS, f"strategy/{strategy_id}", progress)
        work.connection.execute(update(forecasts).where(row).values(told=news))


class _Situation:
    """Rows that a forecast is made from."""

    def __init__(self, connection: Connection, row: Row, now: float) -> None:
        self._row = row
        self._now = now
        view, _holds = load_strategy(connection)
        # The open ones, but those of single sites.
        self.holds = open_holds(connection, [row["id"]])
        self._pace = self._read_pace(connection)
        self._slots = _slots(connection)
        self._work = WorkLeft(phases=(), stages=())
        self._durations = _durations(connection, row["id"], datetime.fromtimestamp(now, UTC))
        self._usual = usual_durations_s(self._durations)
        # Who holds sites by themselves, as a reason for no end.
        self._held_sites = ""
        if view is not None:
            self._work = self._read_work(connection, view)

    def forecast(self) -> Forecast:
        """Return the forecast as if the strategy were not held."""
        missing = self._find_lack()
        if missing:
            return Forecast(missing=missing, pace=self._pace, usual=self._usual)
        left = forecast(self._work, self._durations)
        ends = [datetime.fromtimestamp(self._now + one, UTC) for one in (left.p10_s, left.p50_s, left.p90_s)]
        return Forecast(ends=(ends[0], ends[1], ends[2]), pace=self._pace, usual=self._usual)

    def _find_lack(self) -> str:
        if not self._work.stages:
            return self._held_sites or _TOO_FEW
        return _lack_of(self._work, self._durations, self._slots)

    def _read_pace(self, connection: Connection) -> float:
        now = datetime.fromtimestamp(self._now, UTC)
        of_strategy = steps.c.strategy_id == self._row["id"]
        began = self._row["applied_at"] or self._row["created_at"]
        over_s = min(_PACE_S, max(1.0, (now - began).total_seconds()))
        recent = and_(of_strategy, step_has_ended, steps.c.finished_at > now - timedelta(seconds=over_s))
        ended = connection.execute(select(func.count()).where(recent)).scalar_one()
        return float(round(60.0 * ended / over_s, 2))

    def _read_work(self, connection: Connection, view: StrategyView) -> WorkLeft:
        of_strategy = steps.c.strategy_id == view.id
        waiting: Counter[int] = Counter()
        if not is_halted(view):
            counts = select(steps.c.stage, func.count().label("number")).where(of_strategy, _WAITS)
            waiting.update({row.stage: row.number for row in connection.execute(counts.group_by(steps.c.stage))})
        held = site_holds(connection, view.id)
        self._held_sites = "; ".join(sorted({f"held by {one['by'] or one['kind']}" for one in held.values()}))
        # Sites that are held by themselves are left out: the forecast is that of all others.
        if held:
            alone = select(steps.c.stage).where(steps.c.id.in_(held), _WAITS)
            waiting.subtract(Counter(connection.execute(alone).scalars()))
        begun = self._read_begun(connection, view.id, set(held))
        phases = tuple(phase.state for phase in STRATEGY_TYPES[self._row["type"]].phases if not phase.once_per_strategy)
        numbers = sorted(stage for stage in {*waiting, *begun} if waiting[stage] > 0 or begun[stage])
        stages = [
            StageLeft(
                not_started=max(0, waiting[stage]),
                begun=tuple(begun[stage]),
                width=self._width(view, stage),
                pause_s=0.0 if begun[stage] else self._pause_s(stage),
            )
            for stage in numbers
        ]
        is_window = view.mode == RolloutMode.WINDOW
        if is_window and not view.stage_by_stage and view.width is not None and stages:
            stages = [
                StageLeft(
                    not_started=sum(stage.not_started for stage in stages),
                    begun=tuple(site for stage in stages for site in stage.begun),
                    width=_within_slots(view.width, self._slots),
                )
            ]
        ramp = None if view.ramp_start is None else view.ramp_start + view.succeeded
        return WorkLeft(phases=phases, stages=tuple(stages), one_by_one=not is_window or view.stage_by_stage, ramp=ramp)

    def _width(self, view: StrategyView, stage: int) -> int | None:
        widths = [width for width in (view.width, view.stage_widths.get(stage)) if width is not None]
        width = min(widths) if widths and view.mode == RolloutMode.WINDOW else None
        return _within_slots(width, self._slots)

    def _pause_s(self, stage: int) -> float:
        """Return how long the stages wait before one that has not begun."""
        for hold in self.holds:
            if hold["kind"] == HoldKind.SOAK and hold["stage"] == stage - 1 and hold["until"] is not None:
                until: datetime = hold["until"]
                return max(0.0, until.timestamp() - self._now)
        options = self._row["rollout"].get("stages") or ()
        before = [one for one in options if one.get("stage") == stage - 1 and one.get("passed-at", "") is None]
        return float(before[0].get("soak-s") or 0.0) if before else 0.0

    def _read_begun(
        self, connection: Connection, strategy_id: int, held: set[int]
    ) -> defaultdict[int, list[BegunSite]]:
        current = select(runs.c.id, runs.c.phase, runs.c.state, runs.c.started_at).where(~runs.c.consumed)
        known = {row.id: row for row in connection.execute(current)}
        preparing = select(func.min(runs.c.started_at, type_=runs.c.started_at.type)).join_from(
            preparations, runs, runs.c.id == preparations.c.run_id
        )
        of_strategy = and_(preparations.c.strategy_id == strategy_id, runs.c.state == RunState.RUNNING)
        prepared_since = connection.execute(preparing.where(of_strategy)).scalar()
        found: defaultdict[int, list[BegunSite]] = defaultdict(list)
        for condition in (_IN_FLIGHT, and_(_PARKED, ~steps.c.preparing)):
            columns = (steps.c.id, steps.c.stage, steps.c.state, steps.c.run_id)
            for row in connection.execute(select(*columns).where(steps.c.strategy_id == strategy_id, condition)):
                run = known.get(row.run_id)
                if run is None and row.id in held:
                    continue
                since: Any = prepared_since if run is None and row.state in SHARED_PHASES else None
                if run is not None and run.state != RunState.QUEUED:
                    since = run.started_at
                age_s = 0.0 if since is None else max(0.0, self._now - since.timestamp())
                phase = run.phase if run is not None else row.state
                found[row.stage].append(BegunSite(phase=phase, age_s=age_s))
        return found


def forecast_new(connection: Connection, work: WorkLeft) -> TimeLeft | str:
    """Return how long a strategy takes that is not made yet, or why that is not known, as a few words.

    Durations are those of strategies of the last 90 days; `work` is as wide as its options allow, whatever slots there
    are.
    """
    slots = _slots(connection)
    now = float(connection.execute(select(database_now())).scalar_one())
    durations = _durations(connection, None, datetime.fromtimestamp(now, UTC))
    stages = tuple(replace(stage, width=_within_slots(stage.width, slots)) for stage in work.stages)
    work = replace(work, stages=stages)
    return _lack_of(work, durations, slots) or forecast(work, durations)


def _lack_of(work: WorkLeft, durations: Mapping[str, Sequence[RunTime]], slots: int | None) -> str:
    if slots == 0:
        return "no worker is there"
    if any(len(durations.get(phase, ())) < FEWEST_RUNS for phase in phases_left(work)):
        return _TOO_FEW
    return ""


def _within_slots(width: int | None, slots: int | None) -> int | None:
    """Return a width that the slots of the workers allow."""
    if not slots:
        return width
    return slots if width is None else min(width, slots)


def _slots(connection: Connection) -> int | None:
    """Return the playbook slots of the workers that live; None: there are no heartbeats."""
    query = select(func.count(), func.coalesce(func.sum(heartbeats.c.slots), 0)).where(is_alive())
    count, slots = connection.execute(query).one()
    return int(slots) if count else None


def _durations(connection: Connection, strategy_id: int | None, now: datetime) -> Mapping[str, Sequence[RunTime]]:
    """Return the ended runs by phase, the newest first: the strategy's own, or where these are few, those of others."""
    columns = (runs.c.phase, runs.c.outcome, runs.c.started_at, runs.c.finished_at)
    owner = func.coalesce(steps.c.strategy_id, preparations.c.strategy_id).label("owner")
    ended = (
        select(runs.c.id, *columns, runs.c.step_id, runs.c.preparation_id)
        .where(runs.c.state == RunState.FINISHED, runs.c.started_at.is_not(None))
        .order_by(runs.c.id.desc())
        .limit(_RUNS)
        .subquery()
    )
    query = (
        select(ended.c.phase, ended.c.outcome, ended.c.started_at, ended.c.finished_at, owner)
        .outerjoin_from(ended, steps, steps.c.id == ended.c.step_id)
        .outerjoin(preparations, preparations.c.id == ended.c.preparation_id)
        .order_by(ended.c.id.desc())
    )
    own: defaultdict[str, list[RunTime]] = defaultdict(list)
    others: defaultdict[str, list[RunTime]] = defaultdict(list)
    for row in connection.execute(query):
        goes_on = _TELLING.get(row.outcome)
        if goes_on is None or row.finished_at is None:
            continue
        run = RunTime(seconds=max(0.0, (row.finished_at - row.started_at).total_seconds()), goes_on=goes_on)
        if strategy_id is not None and row.owner == strategy_id:
            own[row.phase].append(run)
        elif row.finished_at > now - _OLDEST:
            others[row.phase].append(run)
    return {
        phase: own[phase] if len(own[phase]) >= FEWEST_RUNS or not others[phase] else others[phase]
        for phase in {*own, *others}
    }


def usual_durations_s(durations: Mapping[str, Sequence[RunTime]]) -> dict[str, float]:
    """Return the median seconds of a phase, of runs whose site went on; a phase that has none is left out."""
    succeeded = {phase: [run.seconds for run in found if run.goes_on] for phase, found in durations.items()}
    return {phase: round(median(found), 1) for phase, found in sorted(succeeded.items()) if found}
