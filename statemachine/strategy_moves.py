"""Moves of a strategy: its abort, its end, its time limit, and its holds for its budget and between its stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from statemachine.actions import (
    AbortWaiting,
    Action,
    EndHolds,
    MoveStrategy,
    OpenHold,
    PassStage,
    RequestCancel,
    StepChange,
)
from statemachine.admission import HoldCoverage, admits, exceeded_stages, is_budget_exceeded, is_halted
from statemachine.machines import fire_strategy
from statemachine.rollout import HoldKind, HoldScope, OnTimeLimit
from statemachine.snapshot import EndedStage, StrategyView
from statemachine.states import StrategyState
from statemachine.time_limits import is_time_over, limit_as_caller, strategy_limit_reached


@dataclass(frozen=True, kw_only=True)
class StrategyMoves:
    """Actions that follow from the row of a strategy and the aggregates of its steps.

    Attributes:
        strategy: The strategy.

        holds: Its open holds.

        abort: The change of steps that have not started when it is aborted.

        awaits_cancel: Whether an open step of it is marked to be cancelled.

        now: The database's clock, in seconds since the epoch.
    """

    strategy: StrategyView
    holds: HoldCoverage
    abort: StepChange
    awaits_cancel: bool
    now: float

    def actions(self) -> Iterator[Action]:
        """Yield the actions, in order."""
        strategy = self.strategy
        if strategy.state == StrategyState.ABORT_REQUESTED:
            yield from self._abort(strategy.cancel_requested_by if strategy.cancel_requested else None)
        elif strategy.state not in (StrategyState.APPLYING, StrategyState.ABORTING):
            return
        elif self._is_over():
            yield from self._end_holds()
            yield self._move(strategy.state, _ending(strategy))
        elif is_time_over(strategy, self.now):
            yield from self._reach_time_limit(strategy.time_limit_s or 0.0)
        else:
            yield from self._budget_holds()
            yield from self._stage_passage()

    def _is_over(self) -> bool:
        """Return whether nothing is left to do; steps of a halted strategy that have not started stay as they are."""
        strategy = self.strategy
        has_work = strategy.any_begun or self.awaits_cancel
        return strategy.open_stage is None or (is_halted(strategy) and not has_work)

    def _budget_holds(self) -> Iterator[OpenHold]:
        """Hold all steps once the failure budget is exceeded, and later stages once that of a stage is."""
        strategy = self.strategy
        if strategy.state != StrategyState.APPLYING or is_halted(strategy):
            return
        if is_budget_exceeded(strategy) and not self.holds.has(HoldKind.BUDGET):
            yield self._budget_hold(f"More sites failed than max-failures, {strategy.max_failures}, allows.", None)
        for stage in exceeded_stages(strategy):
            if stage < strategy.last_stage and not self.holds.has(HoldKind.BUDGET, stage):
                budget = strategy.stage_budgets[stage]
                yield self._budget_hold(
                    f"More sites of stage {stage} failed than its max-failures, {budget}, allows.", stage
                )

    def _budget_hold(self, reason: str, after_stage: int | None) -> OpenHold:
        return OpenHold(
            strategy_id=self.strategy.id,
            kind=HoldKind.BUDGET,
            scope=HoldScope.STARTS,
            stage=after_stage,
            reason=reason,
        )

    def _stage_passage(self) -> Iterator[Action]:
        """Hold the stages after one that has ended for its soak time and its approval, then let it be passed.

        Not before its budget is kept. A hold that a retried site has made needless ends.
        """
        strategy, ended = self.strategy, self.strategy.ended_stage
        if ended is None or not admits(strategy) or ended.stage in exceeded_stages(strategy):
            return
        if self.holds.has(HoldKind.GATE, ended.stage):
            if ended.needs_approval:
                return
            yield self._end_hold(HoldKind.GATE, ended)
        elif ended.soak_s and not self.holds.has(HoldKind.SOAK, ended.stage):
            yield self._stage_hold(HoldKind.SOAK, ended, f"Stage {ended.name} has ended and soaks.")
            return
        elif (self.holds.until(HoldKind.SOAK, ended.stage) or 0.0) > self.now:
            return
        elif ended.soak_s:
            yield self._end_hold(HoldKind.SOAK, ended)
        if ended.needs_approval and not self.holds.has(HoldKind.GATE, ended.stage):
            why = "has ended" if ended.any_succeeded else "has ended, and no site of it succeeded"
            yield self._stage_hold(HoldKind.GATE, ended, f"Stage {ended.name} {why}: approve or deny the next one.")
            return
        yield PassStage(strategy_id=strategy.id, stage=ended.stage)

    def _stage_hold(self, kind: HoldKind, ended: EndedStage, reason: str) -> OpenHold:
        return OpenHold(
            strategy_id=self.strategy.id,
            kind=kind,
            scope=HoldScope.STARTS,
            stage=ended.stage,
            reason=reason,
            until=self.now + ended.soak_s if kind == HoldKind.SOAK else None,
        )

    def _end_hold(self, kind: HoldKind, ended: EndedStage) -> EndHolds:
        return EndHolds(strategy_id=self.strategy.id, kind=kind, stage=ended.stage)

    def _reach_time_limit(self, limit_s: float) -> Iterator[Action]:
        """Abort, or have what runs cancelled. All of an abort is one plan: a second look would find the limit again."""
        is_cancel = self.strategy.on_time_limit == OnTimeLimit.CANCEL
        caller = limit_as_caller(limit_s) if is_cancel else None
        if self.strategy.state == StrategyState.APPLYING:
            yield self._move(StrategyState.APPLYING, "abort", strategy_limit_reached(limit_s))
            yield from self._abort(caller)
        elif caller is not None and not self.strategy.cancel_requested:
            yield RequestCancel(strategy_id=self.strategy.id, requested_by=caller)

    def _abort(self, cancelled_by: str | None) -> Iterator[Action]:
        """Abort steps that have not started, and cancel the others for `cancelled_by`; None: they go on."""
        strategy_id = self.strategy.id
        yield AbortWaiting(strategy_id=strategy_id, change=self.abort)
        if cancelled_by is not None:
            yield RequestCancel(strategy_id=strategy_id, requested_by=cancelled_by)
        yield from self._end_holds()
        yield self._move(StrategyState.ABORT_REQUESTED, "abort_waiting")

    def _end_holds(self) -> Iterator[Action]:
        if not self.holds.is_empty:
            yield EndHolds(strategy_id=self.strategy.id)

    def _move(self, state: str, trigger: str, reason: str = "") -> MoveStrategy:
        to_state = fire_strategy(state, trigger)
        return MoveStrategy(strategy_id=self.strategy.id, from_state=state, to_state=to_state, reason=reason)


def _ending(strategy: StrategyView) -> str:
    """Return the trigger that ends a strategy: failed over aborted over complete (contract 7.1)."""
    if strategy.failed_stage is not None:
        return "fail"
    return "abort_done" if strategy.any_aborted else "complete"
