"""Progress of strategies: their steps are counted from indexes, so that no answer reads every step.

Ended steps are counted by their index, open ones by the partial indexes of those that are worked on; all
others have not started. The statements are built once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    select,
    union_all,
)

from db.load_strategy import AnyRow
from db.read_queries import Row
from db.schema import (
    holds,
    runs,
    step_has_begun,
    step_has_ended,
    step_is_held_alone,
    step_is_in_flight,
    step_is_initial,
    step_is_open,
    steps,
    strategies,
)
from statemachine.rollout import RolloutMode, StageProgress, StepProgress, StrategyProgress
from statemachine.states import TERMINAL_STEPS, RunState, StepState

# Names of sites that an answer lists where there may be as many as a stage has.
_NAMED: Final = 10
_MOMENT: Final = steps.c.created_at.type
_OF: Final[BindParameter[Any]] = bindparam("of_strategies", expanding=True)
_IN_FLIGHT: Final = and_(step_is_open, step_is_in_flight)
_WITHOUT_RUN: Final = and_(step_is_open, step_has_begun, steps.c.run_id.is_(None))
_PUT_BACK: Final = and_(
    step_is_open, step_is_initial, steps.c.run_id.is_(None), literal_column("steps.updated_at IS NOT NULL")
)

# What a row of the counts is about.
_OUTCOME: Final = "outcome"
_WAITING: Final = "waiting"
_OPEN: Final = "open"
_CURRENT: Final = "current"
_QUEUED: Final = "queued"


def _counts() -> CompoundSelect[Any]:
    """Return the query of all counts in one statement; `kind` says what a row is about, `number` may be a run.

    Current runs are not joined: a planner that takes the runs for few reads all of them for each step.
    """
    strategy, of_strategies, count = steps.c.strategy_id, steps.c.strategy_id.in_(_OF), func.count()
    word = case((steps.c.preparing, StepProgress.PREPARING), else_=StepProgress.PARKED).label("word")

    def kind(name: str) -> ColumnElement[str]:
        return literal_column(f"'{name}'").label("kind")

    return union_all(
        select(
            *(kind(_OUTCOME), strategy, steps.c.outcome.label("word"), count.label("number")),
            func.max(steps.c.stage).label("last_stage"),
            func.max(steps.c.finished_at, type_=_MOMENT).label("last_end"),
        )
        .where(of_strategies, step_has_ended)
        .group_by(strategy, steps.c.outcome),
        select(kind(_WAITING), strategy, word, count, null(), null())
        .where(of_strategies, _WITHOUT_RUN)
        .group_by(strategy, "word"),
        select(kind(_OPEN), strategy, null(), count, func.max(steps.c.stage), null())
        .where(of_strategies, step_is_open)
        .group_by(strategy),
        select(kind(_CURRENT), strategy, null(), steps.c.run_id, null(), null()).where(
            of_strategies, _IN_FLIGHT, steps.c.run_id.is_not(None)
        ),
        select(kind(_QUEUED), null(), null(), runs.c.id, null(), null()).where(
            ~runs.c.consumed, runs.c.state == RunState.QUEUED
        ),
    )


_COUNTS: Final = _counts()
# A process of before outcomes were recorded may still end steps while others are upgraded.
_WITHOUT_OUTCOME: Final = (
    select(steps.c.strategy_id, steps.c.state, func.count().label("number"))
    .where(steps.c.strategy_id.in_(_OF), step_has_ended, steps.c.outcome.is_(None))
    .group_by(steps.c.strategy_id, steps.c.state)
)
_MINE: Final = steps.c.strategy_id == strategies.c.id
_MOMENTS: Final = select(
    strategies.c.id,
    strategies.c.created_at,
    select(steps.c.stage)
    .where(_MINE, step_is_open)
    .order_by(steps.c.stage)
    .limit(1)
    .scalar_subquery()
    .label("open_stage"),
    select(func.min(steps.c.started_at, type_=_MOMENT))
    .where(_MINE, steps.c.started_at.is_not(None))
    .scalar_subquery()
    .label("first_start"),
    *(
        select(func.max(changed, type_=_MOMENT)).where(_MINE, condition).scalar_subquery().label(name)
        for name, changed, condition in (
            ("in_flight", steps.c.updated_at, _IN_FLIGHT),
            ("without_run", steps.c.updated_at, _WITHOUT_RUN),
            ("put_back", steps.c.updated_at, _PUT_BACK),
        )
    ),
).where(strategies.c.id.in_(_OF))
_ONE: Final = steps.c.strategy_id == bindparam("of_strategy", type_=steps.c.strategy_id.type)
_IN_STAGE: Final = steps.c.stage == bindparam("of_stage", type_=steps.c.stage.type)
# By states, for their index goes on with the stage; a stage that is counted is of a strategy that goes on.
_ANY_END: Final = steps.c.state.in_([literal_column(f"'{state}'") for state in sorted(TERMINAL_STEPS)])
_STAGE_SIZE: Final = select(
    select(func.count()).where(_ONE, step_has_ended, _ANY_END, _IN_STAGE).scalar_subquery().label("ended"),
    select(func.count()).where(_ONE, step_is_open, _IN_STAGE).scalar_subquery().label("open"),
)


def _states(condition: ColumnElement[bool]) -> Select[Any]:
    count = func.count().label("number")
    return (
        select(steps.c.strategy_id, steps.c.state, count)
        .where(steps.c.strategy_id.in_(_OF), condition)
        .group_by(steps.c.strategy_id, steps.c.state)
    )


# Apart, for ended steps have an index, and open ones another.
_STATES: Final = union_all(_states(step_has_ended), _states(step_is_open))


def step_progress(connection: Connection, strategy_ids: Sequence[int]) -> dict[int, StrategyProgress]:
    """Return the progress of each strategy by its id; of one that there is not, the progress of no steps."""
    found = {strategy_id: StrategyProgress() for strategy_id in strategy_ids}
    if not found:
        return found
    wanted = {"of_strategies": list(found)}
    last_stages = _count_steps(connection, wanted, found)
    for row in connection.execute(_MOMENTS, wanted).all():
        progress = found[row.id]
        changes = (row.created_at, progress.last_change, row.in_flight, row.without_run, row.put_back)
        progress.first_start = row.first_start
        progress.last_change = max(filter(None, changes)) if progress.numbers.total() else None
        if row.open_stage is not None:
            progress.stage = _stage_progress(connection, row.id, row.open_stage, last_stages[row.id])
    return found


def _count_steps(
    connection: Connection, wanted: Mapping[str, Any], found: Mapping[int, StrategyProgress]
) -> Mapping[int, int]:
    """Count the steps of the strategies in `found`, with the last end of one; return the last stage of each."""
    rows: defaultdict[str, list[AnyRow]] = defaultdict(list)
    for row in connection.execute(_COUNTS, wanted):
        rows[row.kind].append(row)
    last_stages: defaultdict[int, int] = defaultdict(int)
    for row in (*rows[_OUTCOME], *rows[_OPEN]):
        last_stages[row.strategy_id] = max(last_stages[row.strategy_id], row.last_stage)
    for row in rows[_OUTCOME]:
        progress = found[row.strategy_id]
        progress.last_change = max(row.last_end, progress.last_change or row.last_end)
        if row.word is not None:
            progress.numbers[row.word] = row.number
    for row in rows[_OPEN]:
        found[row.strategy_id].numbers[StepProgress.NOT_STARTED] += row.number
    for row in rows[_WAITING]:
        _begin(found[row.strategy_id], row.word, row.number)
    queued = {row.number for row in rows[_QUEUED]}
    for row in rows[_CURRENT]:
        # A step whose run has ended and is not concluded yet is running.
        _begin(found[row.strategy_id], StepProgress.QUEUED if row.number in queued else StepProgress.RUNNING)
    is_asked = any(row.word is None for row in rows[_OUTCOME])
    for row in connection.execute(_WITHOUT_OUTCOME, wanted) if is_asked else ():
        # What a strategy that became history had not started.
        word = StepProgress.NOT_STARTED if row.state == StepState.INITIAL else row.state
        found[row.strategy_id].numbers[word] += row.number
    return last_stages


def _stage_progress(connection: Connection, strategy_id: int, stage: int, last: int) -> StageProgress:
    """Return how far a stage of a strategy is, by indexes alone; `last` is the number of its last stage."""
    size = connection.execute(_STAGE_SIZE, {"of_strategy": strategy_id, "of_stage": stage}).one()
    return StageProgress(number=stage, last=max(last, stage), total=size.ended + size.open, ended=size.ended)


def _begin(progress: StrategyProgress, word: str, number: int = 1) -> None:
    progress.numbers[word] += number
    progress.numbers[StepProgress.NOT_STARTED] -= number


def step_counts(connection: Connection, strategy_ids: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
    """Return for each strategy how many of its steps are in each state."""
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for row in connection.execute(_STATES, {"of_strategies": strategy_ids}):
        # What a strategy that became history had not started has ended in `initial`.
        found[row.strategy_id][row.state] += row.number
    return dict(found)


_HELD_ALONE: Final = (
    select(holds.c.id)
    .where(
        holds.c.strategy_id == bindparam("of_strategy", type_=holds.c.strategy_id.type),
        holds.c.ended_at.is_(None),
        holds.c.step_id.is_not(None),
    )
    .limit(1)
)


def blocking_sites(connection: Connection, strategy: Row) -> list[str]:
    """Return the names of the sites, at most ten, that are held by themselves and alone keep a stage open.

    None in a sliding window, in which later sites go on, unless it goes stage by stage, nor while another step of the
    stage is open, nor when no later stage waits.
    """
    has_open_stage_only = strategy["mode"] == RolloutMode.STAGES or strategy["stage_by_stage"]
    if strategy["finished_at"] is not None or not has_open_stage_only:
        return []
    if connection.execute(_HELD_ALONE, {"of_strategy": strategy["id"]}).first() is None:
        return []
    is_open = and_(steps.c.strategy_id == strategy["id"], steps.c.finished_at.is_(None))
    stage = select(func.min(steps.c.stage)).where(is_open).scalar_subquery()
    if connection.execute(select(steps.c.id).where(is_open, steps.c.stage > stage).limit(1)).first() is None:
        return []
    if connection.execute(
        select(steps.c.id).where(is_open, steps.c.stage == stage, ~step_is_held_alone).limit(1)
    ).first():
        return []
    held = select(steps.c.subcloud_name).where(is_open, steps.c.stage == stage).order_by(steps.c.id).limit(_NAMED)
    return list(connection.execute(held).scalars())
