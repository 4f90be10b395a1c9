"""Looks of the coordinator of the model: all open rows, or only those that a snapshot must have."""

from __future__ import annotations

from collections.abc import Iterable

from statemachine.admission import Places, admits, is_stopped_by_budget, start_order
from statemachine.snapshot import PlanLimits, Snapshot, StepView, StrategyView
from statemachine.states import MOVING_STRATEGIES, RunState, StepState
from statemachine.time_limits import held_time
from tests.property.plan_rows import Preparation, Run, Step, Strategy, Subcloud, Worker

MOVING = frozenset(str(state) for state in MOVING_STRATEGIES)


class Rows:
    """The rows of an installation, and the clock of its database.

    `limits` are the settings of the plan; `groups` gives the (apply type, width) of each group.
    """

    def __init__(
        self, *, subclouds: int, groups: list[tuple[str, int]], workers: list[int], limits: PlanLimits, thorough: bool
    ) -> None:
        self.now = 1000.0
        self.limits = limits
        self.thorough = thorough
        self.groups = groups
        self.subclouds = [Subcloud(id=place, group=place % len(groups)) for place in range(subclouds)]
        self.strategy: Strategy | None = None
        # Open standalone steps and all steps of the strategy, in id order.
        self.steps: list[Step] = []
        self.preparations: list[Preparation] = []
        self.runs: dict[int, Run] = {}
        # Ids of runs whose messages are in the queue.
        self.messages: list[int] = []
        self.workers = [
            Worker(owner=place + 1, slots=slots, renewed_at=self.now) for place, slots in enumerate(workers)
        ]
        self._owners = len(workers)
        self._ids = 0

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    def snapshot(self) -> Snapshot:
        """Return every open row, as the loader that leaves nothing out does."""
        return self._snapshot([step for step in self.steps if step.open], self.preparations)

    def needed_snapshot(self) -> Snapshot:
        """Return the rows that the description of `Snapshot` asks for, and no others."""
        steps = [step for step in self.steps if step.open and self._may_move(step)]
        steps += self._candidates()
        waiting = {(step.look().owner, step.from_version) for step in steps if step.state == StepState.PREPARE}
        preparations = [
            one
            for one in self.preparations
            if (one.owner, one.from_version) in waiting or (one.run is not None and self._is_ended(one.run))
        ]
        return self._snapshot(sorted(steps, key=lambda step: step.id), preparations)

    def _snapshot(self, steps: Iterable[Step], preparations: Iterable[Preparation]) -> Snapshot:
        strategy = self.strategy
        return Snapshot(
            strategy=None if strategy is None else self.look_at(strategy),
            steps=tuple([step.view or step.look() for step in steps]),
            preparations=tuple([one.view or one.look() for one in preparations]),
            holds=() if strategy is None else tuple([hold.look() for hold in strategy.holds]),
        )

    def _may_move(self, step: Step) -> bool:
        """Return whether a step that has started, or has a run or a mark, is one that a plan needs."""
        strategy = step.strategy
        if step.run is not None:
            return self._is_ended(step.run) or (step.run.state == RunState.QUEUED and self._is_withdrawn(step))
        if step.cancel_by is not None:
            return True
        if step.state == StepState.INITIAL:
            return strategy is None
        if strategy is not None and not step.preparing and strategy.stops(step):
            return False
        return not any(
            one.state == "running" and (one.owner, one.from_version) == (step.look().owner, step.from_version)
            for one in self.preparations
            if step.state == StepState.PREPARE
        )

    def _is_ended(self, run: Run) -> bool:
        if run.state == RunState.RUNNING and run.lease_until is not None:
            return self.limits.is_lease_over(run.lease_until, self.now)
        return run.state == RunState.FINISHED and not run.consumed

    def _is_withdrawn(self, step: Step) -> bool:
        strategy = step.strategy
        if step.cancel_by is not None:
            return True
        if strategy is None:
            return False
        by_budget = step.state == StepState.INITIAL and is_stopped_by_budget(self.look_at(strategy))
        return by_budget or strategy.stops(step)

    def _candidates(self) -> list[Step]:
        """Return the steps that may start, with those that find no place left out."""
        strategy = self.strategy
        view = None if strategy is None else self.look_at(strategy)
        if strategy is None or view is None or not admits(view):
            return []
        waiting = [step for step in strategy.steps if step.not_started and not step.cancel_by]
        if not strategy.is_window:
            return [step for step in waiting if step.stage == view.open_stage and not strategy.stops(step)]
        places, found = Places(view), []
        for step in sorted(waiting, key=_order):
            if strategy.stops(step) or (view.stage_by_stage and step.stage != view.open_stage):
                continue
            if step.position >= 0 and not places.take(step.stage):
                break
            found.append(step)
        return found

    def look_at(self, strategy: Strategy) -> StrategyView:
        """Return the view of the plan."""
        open_stage = failed_stage = None
        succeeded = failed = 0
        any_aborted = any_begun = False
        in_flight: dict[int, int] = {}
        failed_of: dict[int, int] = {}
        for step in strategy.steps:
            if step.open:
                open_stage = min(open_stage or step.stage, step.stage)
                any_begun = any_begun or step.begun
                if step.in_flight:
                    in_flight[step.stage] = in_flight.get(step.stage, 0) + 1
            elif step.state == "failed":
                failed_stage, failed = max(failed_stage or step.stage, step.stage), failed + 1
                failed_of[step.stage] = failed_of.get(step.stage, 0) + 1
            elif step.state == "aborted":
                any_aborted = True
            elif step.outcome == "complete":
                succeeded += 1
        rollout = strategy.rollout
        held_s, held_since = 0.0, None
        if rollout.time_limit_s is not None:
            everything = [(one.since, None) for one in strategy.holds if one.covers_all]
            held_s, held_since = held_time([*strategy.held, *everything])
        return StrategyView(
            id=strategy.id,
            state=strategy.state,
            stop_on_failure=strategy.stop_on_failure,
            open_stage=open_stage,
            failed_stage=failed_stage,
            any_aborted=any_aborted,
            any_begun=any_begun,
            mode=rollout.mode,
            width=strategy.width,
            stage_widths=strategy.stage_widths,
            stage_by_stage=rollout.stage_by_stage,
            ended_stage=strategy.ended_stage,
            last_stage=max(step.stage for step in strategy.steps),
            stage_budgets=rollout.stage_budgets,
            failed_by_stage=failed_of,
            in_flight=sum(in_flight.values()),
            in_flight_by_stage=in_flight,
            ramp_start=rollout.ramp_start,
            succeeded=succeeded,
            failed=failed,
            max_failures=rollout.max_failures,
            on_budget=rollout.on_budget,
            on_prepare_failure=rollout.on_prepare_failure,
            time_limit_s=rollout.time_limit_s,
            on_time_limit=rollout.on_time_limit,
            applied_at_epoch=strategy.applied_at,
            held_s=held_s,
            held_since_epoch=held_since,
            cancel_requested=strategy.cancel_by is not None,
            cancel_requested_by=strategy.cancel_by or "",
        )


def _order(step: Step) -> tuple[bool, int, int, int]:
    view: StepView = step.look()
    return start_order(view)
