"""Single stages of the active strategy: their failure budgets, and what is written down of their passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from db.schema import step_has_ended, steps, strategies, strategy_stages
from statemachine.states import StepState

_FAILED: Final = (
    select(func.count())
    .where(
        steps.c.strategy_id == strategy_stages.c.strategy_id,
        steps.c.stage == strategy_stages.c.stage,
        step_has_ended,
        steps.c.state == StepState.FAILED,
    )
    .correlate(strategy_stages)
    .scalar_subquery()
)


@dataclass(frozen=True, kw_only=True)
class ExceededStage:
    """A stage of which more steps failed than its budget, `max_failures`, allows."""

    stage: int
    failed: int
    max_failures: int


def exceeded_stages(connection: Connection, strategy_id: int) -> Sequence[ExceededStage]:
    """Return the stages of a strategy that exceed their own failure budget, in their order."""
    query = (
        select(strategy_stages.c.stage, strategy_stages.c.max_failures, _FAILED.label("failed"))
        .where(
            strategy_stages.c.strategy_id == strategy_id,
            strategy_stages.c.max_failures.is_not(None),
            strategy_stages.c.max_failures < _FAILED,
        )
        .order_by(strategy_stages.c.stage)
    )
    rows = connection.execute(query)
    return [ExceededStage(stage=row.stage, failed=row.failed, max_failures=row.max_failures) for row in rows]


def set_stage_budget(connection: Connection, strategy_id: int, stage: int, max_failures: int) -> None:
    """Set the failure budget of a stage, as a count of its steps."""
    connection.execute(
        update(strategy_stages)
        .where(strategy_stages.c.strategy_id == strategy_id, strategy_stages.c.stage == stage)
        .values(max_failures=max_failures)
    )


def write_stage(connection: Connection, strategy_id: int, stage: int, values: Mapping[str, Any]) -> None:
    """Write values of a stage into the `rollout` that answers show of the strategy.

    The plan reads them there too: a strategy has few stages, and each of them changes a few times at most.
    """
    of_strategy = strategies.c.id == strategy_id
    options = connection.execute(select(strategies.c.rollout).where(of_strategy)).scalar_one()
    stages = [{**one, **values} if one["stage"] == stage else one for one in options["stages"]]
    connection.execute(update(strategies).where(of_strategy).values(rollout={**options, "stages": stages}))
