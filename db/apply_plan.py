"""Write the actions of a plan: set statements in one transaction, with their events and messages.

Every write is guarded by the values that the plan was made on; when a row has changed since, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import singledispatchmethod
from typing import Any

from sqlalchemy import and_, delete, func, insert, select, update

from db.apply_step_moves import StepWriter, add_runs, mark_processed, new_run
from db.errors import StalePlanError
from db.holds import NewHold, cancel_strategy, end_holds, hold_clock, open_hold, withdraw_runs
from db.live_output import tell_progress
from db.rollout_stages import write_stage
from db.runs import LOST_RUN
from db.schema import holds, preparations, runs, secrets, step_is_open, steps, strategies
from db.site_records import CONTENT_DIGEST
from db.unit_of_work import UnitOfWork
from messages.event_types import EmptyData, event_name
from statemachine.actions import (
    AbortWaiting,
    Action,
    EndHolds,
    EndPreparation,
    ExpireRun,
    MoveStep,
    MoveStrategy,
    OpenHold,
    OpenPreparation,
    PassStage,
    RepeatPreparation,
    RequestCancel,
    RetryPreparation,
    WithdrawRuns,
)
from statemachine.states import ENDED_STRATEGIES, PreparationState, RunOutcome, RunState, StepState


class PlanWriter:
    """Writes the actions of one plan inside the transaction of `work`."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._connection = work.connection
        self._at = work.at
        self._steps = StepWriter(work)

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Write `actions`.

        Raises:
            StalePlanError: A row has changed since the plan was made; the caller rolls back and plans again.
        """
        moves: list[MoveStep] = []
        expiries: list[ExpireRun] = []
        for action in actions:
            if isinstance(action, MoveStep):
                moves.append(action)
            elif isinstance(action, ExpireRun):
                expiries.append(action)
            else:
                self._do(action)
        # In the order in which workers renew leases: so the two never wait for each other in a ring.
        for expiry in sorted(expiries, key=lambda one: one.run_id):
            self._do(expiry)
        if moves:
            self._steps.carry_out(moves)

    @singledispatchmethod
    def _do(self, action: Action) -> None:
        raise TypeError(f"no way to carry out {type(action).__name__}")

    @_do.register
    def _abort_waiting(self, action: AbortWaiting) -> None:
        waiting = and_(
            steps.c.strategy_id == action.strategy_id, step_is_open, steps.c.state == action.change.from_state
        )
        withdrawn = self._connection.execute(
            update(runs)
            .where(runs.c.state == RunState.QUEUED, runs.c.step_id.in_(select(steps.c.id).where(waiting)))
            .values(state=RunState.FINISHED, outcome=RunOutcome.WITHDRAWN, consumed=True, finished_at=self._at)
            .returning(runs.c.id)
        )
        self._work.completed += withdrawn.scalars()
        self._steps.abort(action.strategy_id, action.change)

    @_do.register
    def _move_strategy(self, action: MoveStrategy) -> None:
        ended = action.to_state in ENDED_STRATEGIES
        kind = self._connection.execute(
            update(strategies)
            .where(strategies.c.id == action.strategy_id, strategies.c.state == action.from_state)
            .values(
                state=action.to_state,
                updated_at=self._at,
                **({"finished_at": self._at} if ended else {}),
                **({"limit_reached": action.reason} if action.reason else {}),
            )
            .returning(strategies.c.type)
        ).scalar_one_or_none()
        if kind is None:
            raise StalePlanError
        if ended:
            self._connection.execute(delete(secrets).where(secrets.c.strategy_id == action.strategy_id))
        event = event_name("strategy", kind, action.to_state)
        self._work.emit(event, f"strategy/{action.strategy_id}", EmptyData())

    @_do.register
    def _open_preparation(self, action: OpenPreparation) -> None:
        strategy_id, step_id = action.owner
        preparation_id = self._connection.execute(
            insert(preparations)
            .values(
                strategy_id=strategy_id,
                step_id=step_id,
                release=action.release,
                from_version=action.from_version,
                opened_by_step_id=action.opened_by_step_id,
                state=PreparationState.RUNNING,
                details="",
                created_at=self._at,
            )
            .returning(preparations.c.id)
        ).scalar_one()
        self._run_preparation(preparation_id, action.phase, attempt=1)

    @_do.register
    def _retry_preparation(self, action: RetryPreparation) -> None:
        mark_processed(self._work, [action.consumed_run_id])
        self._run_preparation(action.preparation_id, action.phase, attempt=action.attempt)

    def _run_preparation(self, preparation_id: int, phase: StepState, *, attempt: int) -> None:
        run = new_run(phase, attempt, preparation_id=preparation_id)
        (added,) = add_runs(self._work, [run])
        self._connection.execute(
            update(preparations).where(preparations.c.id == preparation_id).values(run_id=added.id)
        )

    @_do.register
    def _end_preparation(self, action: EndPreparation) -> None:
        mark_processed(self._work, [action.consumed_run_id])
        self._expect_one(
            update(preparations)
            .where(preparations.c.id == action.preparation_id, preparations.c.state == PreparationState.RUNNING)
            .values(
                state=action.state,
                details=action.details,
                finished_at=self._at,
                content=select(func.substr(runs.c.facts[CONTENT_DIGEST].as_string(), 1, 64))
                .where(runs.c.id == action.consumed_run_id)
                .scalar_subquery(),
            )
        )

    @_do.register
    def _repeat_preparation(self, action: RepeatPreparation) -> None:
        self._expect_one(
            update(preparations)
            .where(preparations.c.id == action.preparation_id, preparations.c.state == PreparationState.VOID)
            .values(state=PreparationState.RUNNING, details="", finished_at=None, round=preparations.c.round + 1)
        )
        self._run_preparation(action.preparation_id, action.phase, attempt=1)

    @_do.register
    def _open_hold(self, action: OpenHold) -> None:
        open_hold(
            self._work,
            NewHold(
                strategy_id=action.strategy_id,
                kind=action.kind,
                scope=action.scope,
                preparation_id=action.preparation_id,
                stage=action.stage,
                reason=action.reason,
                until=None if action.until is None else datetime.fromtimestamp(action.until, UTC),
            ),
        )

    @_do.register
    def _end_holds(self, action: EndHolds) -> None:
        which = holds.c.strategy_id == action.strategy_id
        if action.kind is not None:
            which = and_(which, holds.c.kind == action.kind, holds.c.stage == action.stage)
        if action.step_ids:
            which = and_(which, holds.c.step_id.in_(action.step_ids))
        end_holds(self._work, which, by="")

    @_do.register
    def _pass_stage(self, action: PassStage) -> None:
        write_stage(
            self._connection, action.strategy_id, action.stage, {"passed-at": hold_clock(self._connection).isoformat()}
        )

    @_do.register
    def _withdraw_runs(self, action: WithdrawRuns) -> None:
        withdraw_runs(self._work, steps.c.run_id.in_(action.run_ids))

    @_do.register
    def _request_cancel(self, action: RequestCancel) -> None:
        cancel_strategy(self._work, action.strategy_id, by=action.requested_by)

    @_do.register
    def _expire_run(self, action: ExpireRun) -> None:
        # A lease that was renewed after the look keeps its run: then nothing matches, and nothing is wrong.
        expired = self._connection.execute(
            update(runs)
            .where(
                runs.c.id == action.run_id,
                runs.c.state == RunState.RUNNING,
                runs.c.lease_until == action.lease_until,
            )
            .values(finished_at=self._at, **LOST_RUN)
        ).rowcount
        if expired:
            tell_progress(self._work, [action.run_id])

    def _expect_one(self, statement: Any) -> None:
        if self._connection.execute(statement).rowcount != 1:
            raise StalePlanError
