"""Load what decides about one site of the active strategy, so that its situation can be explained."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, and_, func, or_, select

from db.heartbeats import served_queues
from db.holds import open_holds, site_hold
from db.load_snapshot import load_step
from db.load_strategy import load_strategy
from db.read_queries import Row
from db.schema import runs, step_is_held_alone, steps
from messages.queues import phases_of_queues, queue_of_phase
from statemachine.admission import is_halted
from statemachine.explain import SiteSituation, hold_reason
from statemachine.legal_commands import StepSituation, step_refusal
from statemachine.snapshot import RunView, StepView
from statemachine.states import RunState, StepState


def load_situation(connection: Connection, step_id: int) -> SiteSituation | None:
    """Return the situation of a step of the active strategy; None: it is not one."""
    strategy, views = load_strategy(connection)
    loaded = load_step(connection, step_id)
    if strategy is None or loaded is None or loaded[0].strategy_id != strategy.id:
        return None
    step, preparation = loaded
    own = site_hold(connection, step_id)
    rows = [*([own] if own is not None else []), *open_holds(connection, [strategy.id])]
    ended = connection.execute(select(steps.c.outcome, steps.c.details).where(steps.c.id == step_id)).one()
    is_waiting = step.run is None and step.state == StepState.INITIAL
    return SiteSituation(
        step=step,
        strategy=strategy,
        outcome=ended.outcome,
        details=ended.details,
        holds=views,
        hold_reasons={
            row["id"]: hold_reason(
                row["kind"],
                by=row["by"],
                reason=row["reason"],
                is_of_site=row["step_id"] is not None,
                until=row["until"],
            )
            for row in rows
        },
        preparation=preparation,
        waiting_before=_waiting_before(connection, step) if is_waiting else {},
        runs_before=_runs_before(connection, step.run) if step.run is not None else 0,
        missing_worker=_missing_worker(connection, step.run) if step.run is not None else "",
    )


def step_situation(connection: Connection, step: Row, *, is_held: bool = False) -> StepSituation:
    """Return what decides about the commands of a step of the active strategy.

    Args:
        connection: A connection.

        step: The step with `strategy_state` and `mode`, as `db.read_queries.active_step` returns it.

        is_held: Whether a hold is on its site alone.
    """
    situation = StepSituation(
        state=step["state"],
        outcome=step["outcome"],
        has_ended=step["finished_at"] is not None,
        has_subcloud=step["subcloud_id"] is not None,
        strategy_state=step["strategy_state"],
        mode=step["mode"],
        is_held=is_held,
        is_cancelled=step["cancel_requested_by"] is not None,
    )
    if step_refusal("retry", situation) is not None:
        return situation
    strategy, _ = load_strategy(connection)
    is_open = and_(steps.c.subcloud_id == step["subcloud_id"], steps.c.finished_at.is_(None))
    return replace(
        situation,
        is_stopped=strategy is not None and is_halted(strategy),
        is_busy=connection.execute(select(steps.c.id).where(is_open).limit(1)).first() is not None,
    )


def _waiting_before(connection: Connection, step: StepView) -> dict[int, int]:
    """Return how many steps that have not started come before one, by stage; `admission.start_order` has the order."""
    place = (steps.c.position, steps.c.id)
    is_earlier = or_(place[0] < step.position, and_(place[0] == step.position, place[1] < step.id))
    is_before = and_(steps.c.position < 0, is_earlier)
    if step.position >= 0:
        is_before = or_(steps.c.position < 0, steps.c.stage < step.stage, and_(steps.c.stage == step.stage, is_earlier))
    query = (
        select(steps.c.stage, func.count())
        .where(
            steps.c.strategy_id == step.strategy_id,
            steps.c.finished_at.is_(None),
            steps.c.state == StepState.INITIAL,
            steps.c.run_id.is_(None),
            is_before,
            ~step_is_held_alone,
        )
        .group_by(steps.c.stage)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _runs_before(connection: Connection, run: RunView) -> int:
    alike = phases_of_queues([queue_of_phase(run.phase)])
    query = select(func.count()).where(
        ~runs.c.consumed, runs.c.state == RunState.QUEUED, runs.c.phase.in_(alike), runs.c.id < run.id
    )
    return int(connection.execute(query).scalar_one())


def _missing_worker(connection: Connection, run: RunView) -> str:
    if run.state != RunState.QUEUED:
        return ""
    wanted = queue_of_phase(run.phase)
    return next((one.missing or "" for one in served_queues(connection) if one.queue == wanted), "")
