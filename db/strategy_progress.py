"""Progress of strategies: their steps are counted from indexes, so that no answer reads every step.

Ended steps are counted by the index of outcomes, open ones by the partial indexes of those that are worked on; all
others have not started. The statements are built once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    union_all,
)

from db.read_queries import Row
from db.schema import runs, step_is_held_alone, steps, strategies
from statemachine.rollout import RolloutMode, StageProgress, StepProgress, StrategyProgress
from statemachine.states import RunState, StepState

# Names of sites that an answer lists where there may be as many as a stage has.
_NAMED: Final = 10
_OF: Final[BindParameter[Any]] = bindparam("of_strategies", expanding=True)
# In the words of the partial indexes; literals, for SQLite uses one only when its condition is known beforehand.
_IS_OPEN: Final = steps.c.finished_at.is_(None)
_INITIAL: Final[ColumnElement[str]] = literal_column(f"'{StepState.INITIAL}'")
_IN_FLIGHT: Final = and_(_IS_OPEN, literal_column("(steps.run_id IS NOT NULL OR steps.preparing)"))
_WITHOUT_RUN: Final = and_(_IS_OPEN, steps.c.state != _INITIAL, steps.c.run_id.is_(None))
_PUT_BACK: Final = and_(
    _IS_OPEN, steps.c.state == _INITIAL, steps.c.run_id.is_(None), literal_column("steps.updated_at IS NOT NULL")
)

_OPEN: Final = "open"
_OUTCOMES: Final = (
    select(steps.c.strategy_id, steps.c.outcome, func.count().label("number"))
    .where(steps.c.strategy_id.in_(_OF))
    .group_by(steps.c.strategy_id, steps.c.outcome)
)
_WAIT_WORD: Final = case((steps.c.preparing, StepProgress.PREPARING), else_=StepProgress.PARKED)
_OPEN_STEPS: Final = union_all(
    select(steps.c.strategy_id, _WAIT_WORD.label("word"), func.count().label("number"))
    .where(steps.c.strategy_id.in_(_OF), _WITHOUT_RUN)
    .group_by(steps.c.strategy_id, "word"),
    select(steps.c.strategy_id, literal_column(f"'{_OPEN}'"), func.count())
    .where(steps.c.strategy_id.in_(_OF), _IS_OPEN)
    .group_by(steps.c.strategy_id),
)
# Not joined: a planner that takes the runs for few reads all of them for each step.
_CURRENT_RUNS: Final = select(steps.c.strategy_id, steps.c.run_id).where(
    steps.c.strategy_id.in_(_OF), _IN_FLIGHT, steps.c.run_id.is_not(None)
)
_QUEUED_RUNS: Final = select(runs.c.id).where(~runs.c.consumed, runs.c.state == RunState.QUEUED)
# A process of before outcomes were recorded may still end steps while others are upgraded.
_WITHOUT_OUTCOME: Final = (
    select(steps.c.strategy_id, steps.c.state, func.count().label("number"))
    .where(steps.c.strategy_id.in_(_OF), steps.c.outcome.is_(None), steps.c.finished_at.is_not(None))
    .group_by(steps.c.strategy_id, steps.c.state)
)
_MOMENT: Final = steps.c.created_at.type
_MINE: Final = steps.c.strategy_id == strategies.c.id
_MOMENTS: Final = select(
    strategies.c.id,
    strategies.c.created_at,
    select(func.min(steps.c.started_at, type_=_MOMENT))
    .where(_MINE, steps.c.started_at.is_not(None))
    .scalar_subquery()
    .label("first_start"),
    *(
        select(func.max(changed, type_=_MOMENT)).where(_MINE, condition).scalar_subquery().label(name)
        for name, changed, condition in (
            ("ended", steps.c.finished_at, steps.c.finished_at.is_not(None)),
            ("in_flight", steps.c.updated_at, _IN_FLIGHT),
            ("without_run", steps.c.updated_at, _WITHOUT_RUN),
            ("put_back", steps.c.updated_at, _PUT_BACK),
        )
    ),
).where(strategies.c.id.in_(_OF))


def step_progress(connection: Connection, strategy_ids: Sequence[int]) -> dict[int, StrategyProgress]:
    """Return the progress of each strategy by its id; of one that there is not, the progress of no steps."""
    found = {strategy_id: StrategyProgress() for strategy_id in strategy_ids}
    if not found:
        return found
    wanted = {"of_strategies": list(found)}
    without_outcome = 0
    for row in connection.execute(_OUTCOMES, wanted):
        if row.outcome is None:
            without_outcome += row.number
        else:
            found[row.strategy_id].numbers[row.outcome] = row.number
    for row in connection.execute(_OPEN_STEPS, wanted).all():
        if row.word == _OPEN:
            found[row.strategy_id].numbers[StepProgress.NOT_STARTED] += row.number
            found[row.strategy_id].stage = _present_stage(connection, row.strategy_id)
            without_outcome -= row.number
        else:
            _begin(found[row.strategy_id], row.word, row.number)
    current = connection.execute(_CURRENT_RUNS, wanted).all()
    queued = set(connection.execute(_QUEUED_RUNS).scalars()) if current else set()
    for row in current:
        # A step whose run has ended and is not concluded yet is running.
        _begin(found[row.strategy_id], StepProgress.QUEUED if row.run_id in queued else StepProgress.RUNNING)
    for row in connection.execute(_WITHOUT_OUTCOME, wanted) if without_outcome else ():
        # What a strategy that became history had not started.
        word = StepProgress.NOT_STARTED if row.state == StepState.INITIAL else row.state
        found[row.strategy_id].numbers[word] += row.number
    for row in connection.execute(_MOMENTS, wanted):
        progress = found[row.id]
        changes = (row.created_at, row.ended, row.in_flight, row.without_run, row.put_back)
        progress.first_start = row.first_start
        progress.last_change = max(filter(None, changes)) if progress.numbers.total() else None
    return found


def _begin(progress: StrategyProgress, word: str, number: int = 1) -> None:
    progress.numbers[word] += number
    progress.numbers[StepProgress.NOT_STARTED] -= number


def step_counts(connection: Connection, strategy_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return for each strategy how many of its steps are in each state."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    query = (
        select(steps.c.strategy_id, steps.c.state, func.count().label("number"))
        .where(steps.c.strategy_id.in_(strategy_ids))
        .group_by(steps.c.strategy_id, steps.c.state)
    )
    for row in connection.execute(query):
        found[row.strategy_id][row.state] = row.number
    return found


def _present_stage(connection: Connection, strategy_id: int) -> StageProgress | None:
    """Return the first stage of a strategy in which a step is open, by indexes alone; None: all steps have ended."""
    mine = steps.c.strategy_id == strategy_id
    is_open = and_(mine, _IS_OPEN)
    first = connection.execute(select(steps.c.stage).where(is_open).order_by(steps.c.stage).limit(1)).scalar()
    if first is None:
        return None
    last = [
        connection.execute(select(func.max(steps.c.stage)).where(mine, steps.c.state == state)).scalar()
        for state in StepState
    ]
    # By states, for the index of states goes on with the stage.
    in_stage = and_(mine, steps.c.state.in_(list(StepState)), steps.c.stage == first)
    total = connection.execute(select(func.count()).where(in_stage)).scalar_one()
    still_open = connection.execute(select(func.count()).where(is_open, steps.c.stage == first)).scalar_one()
    return StageProgress(number=first, last=max(filter(None, last)), total=total, ended=total - still_open)


def blocking_sites(connection: Connection, strategy: Row) -> list[str]:
    """Return the names of the sites, at most ten, that are held by themselves and alone keep a stage open.

    None in a sliding window, in which later sites go on, unless it goes stage by stage, nor while another step of the
    stage is open, nor when no later stage waits.
    """
    has_open_stage_only = strategy["mode"] == RolloutMode.STAGES or strategy["stage_by_stage"]
    if strategy["finished_at"] is not None or not has_open_stage_only:
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
