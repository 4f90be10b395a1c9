"""Coordinator of the model: rows, a clock, and plans that are carried out whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from statemachine.actions import (
    AbortWaiting,
    Action,
    EndPreparation,
    ExpireRun,
    MoveStep,
    MoveStrategy,
    OpenPreparation,
    RetryPreparation,
)
from statemachine.plan import plan
from statemachine.snapshot import PlanLimits, Snapshot, StrategyView
from statemachine.states import (
    MOVING_STRATEGIES,
    PLAYBOOK_PHASES,
    TERMINAL_STEPS,
    RunOutcome,
    RunState,
    StepState,
    StrategyState,
)
from tests.property.plan_rows import RELEASE, Preparation, Run, Step, Strategy, Subcloud, Worker

LEASE_S = 40.0
GIVE_UP_S = 30.0
PLAYBOOKS = frozenset(PLAYBOOK_PHASES)
MOVING = frozenset(str(state) for state in MOVING_STRATEGIES)
# States that no command of the moment may disturb.
ENDED = frozenset({StrategyState.COMPLETE, StrategyState.FAILED, StrategyState.ABORTED})


class StaleError(Exception):
    """A row has changed since the plan was made; nothing was written."""


class CoordinatorSide:
    """The installation. `limits` are the settings of the plan; `groups` gives the (apply type, width) of each group."""

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
        return Snapshot(
            strategy=self._look_at_strategy() if self.strategy is not None else None,
            steps=tuple([step.view or step.look() for step in self.steps if step.open]),
            preparations=tuple([one.view or one.look() for one in self.preparations]),
        )

    def _look_at_strategy(self) -> StrategyView:
        strategy = self.strategy
        assert strategy is not None
        open_stage = failed_stage = None
        any_aborted = False
        # Steps are in the order of their stages.
        for step in strategy.steps:
            if step.open:
                open_stage = open_stage or step.stage
            elif step.state == "failed":
                failed_stage = step.stage
            elif step.state == "aborted":
                any_aborted = True
        return StrategyView(
            id=strategy.id,
            state=strategy.state,
            stop_on_failure=strategy.stop_on_failure,
            open_stage=open_stage,
            failed_stage=failed_stage,
            any_aborted=any_aborted,
            any_begun=any(step.begun for step in strategy.steps),
        )

    def decide(self) -> list[Action]:
        """Plan, and write nothing: what a coordinator leaves that crashes before its commit."""
        snapshot = self.snapshot()
        actions = plan(snapshot, self.now, self.limits)
        if self.thorough:
            assert actions == plan(snapshot, self.now, self.limits), "two plans over the same rows differ"
        return actions

    def settle(self) -> None:
        """Run one pass of the coordinator: plan and carry out until nothing is unlocked."""
        for _round in range(20):
            actions = self.decide()
            if not actions:
                return
            self.carry_out(actions)
            if not any(action.unlocks for action in actions):
                break
        else:
            raise AssertionError("the plan never comes to rest")
        if self.thorough:
            assert self.decide() == [], "a pass left something to do"

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Carry out a plan, which may be stale.

        Raises:
            StaleError: A row has changed meanwhile; nothing was written.
        """
        by_id = {step.id: step for step in self.steps}
        moves: list[MoveStep] = []
        others: list[Action] = []
        for action in actions:
            if not isinstance(action, MoveStep):
                others.append(action)
            elif action.step_id in by_id and by_id[action.step_id].version == action.version:
                moves.append(action)
            else:
                raise StaleError
        assert len({move.step_id for move in moves}) == len(moves), "one step is moved twice in one plan"
        for action in others:
            _DO[type(action)](self, action)
        for move in moves:
            self._move_step(by_id[move.step_id], move)

    def _abort_waiting(self, action: AbortWaiting) -> None:
        for step in self._strategy_of(action.strategy_id).steps:
            if step.state == action.change.from_state:
                if step.run is not None and step.run.state == RunState.QUEUED:
                    step.run.state, step.run.outcome, step.run.consumed = "finished", RunOutcome.WITHDRAWN, True
                self._write(step, state=action.change.to_state, run=None, details="")

    def _move_strategy(self, action: MoveStrategy) -> None:
        strategy = self._strategy_of(action.strategy_id)
        assert strategy.state == action.from_state
        strategy.state = action.to_state
        if action.to_state in ENDED:
            self.check_ending(strategy)

    def _strategy_of(self, strategy_id: int) -> Strategy:
        assert self.strategy is not None
        assert strategy_id == self.strategy.id
        return self.strategy

    def _move_step(self, step: Step, move: MoveStep) -> None:
        if move.consumed_run_id is not None:
            run = self.runs[move.consumed_run_id]
            assert run is step.run
            assert not run.consumed, "one outcome is processed twice"
            run.consumed = True
        if not move.path and step.state == StepState.INITIAL:
            self._check_may_start(step)
        state = move.path[-1] if move.path else step.state
        if StepState.PACKAGES in move.path and step.from_version != RELEASE:
            owner = (step.strategy.id, None) if step.strategy else (None, step.id)
            key = (owner, step.from_version)
            ready = [one.state for one in self.preparations if (one.owner, one.from_version) == key]
            assert ready == ["complete"], "packages are staged that were not prepared"
        self._write(step, state=state, run=None, details=move.details if move.path else step.details)
        if move.run_phase is not None:
            step.run = self._dispatch(step, move.run_phase, move.attempt)

    def _open_preparation(self, action: OpenPreparation) -> None:
        key = (action.owner, action.from_version)
        assert all((one.owner, one.from_version) != key for one in self.preparations), "a preparation is opened twice"
        one = Preparation(self._new_id(), action.owner, action.from_version, action.opened_by_step_id)
        one.run = self._dispatch(one, action.phase, 1)
        self.preparations.append(one)

    def _retry_preparation(self, action: RetryPreparation) -> None:
        one = self._consumed(action.preparation_id, action.consumed_run_id)
        one.run = self._dispatch(one, action.phase, action.attempt)
        one.view = None

    def _end_preparation(self, action: EndPreparation) -> None:
        one = self._consumed(action.preparation_id, action.consumed_run_id)
        one.state, one.details, one.view = action.state, action.details, None

    def _consumed(self, preparation_id: int, run_id: int) -> Preparation:
        run = self.runs[run_id]
        (one,) = [one for one in self.preparations if one.id == preparation_id]
        assert one.state == "running", "a preparation that has ended changes"
        assert one.run is run
        assert not run.consumed, "one outcome is processed twice"
        run.consumed = True
        return one

    def _expire_run(self, action: ExpireRun) -> None:
        run = self.runs[action.run_id]
        if run.state == RunState.RUNNING and run.lease_until == action.lease_until:
            run.state, run.outcome = RunState.FINISHED, RunOutcome.LOST
            run.changed()

    def _dispatch(self, target: Step | Preparation, phase: str, attempt: int) -> Run:
        same = [run for run in target.history if run.phase == phase]
        assert attempt == len(same) + 1
        assert attempt <= self.limits.max_attempts, "more attempts than allowed"
        assert all(run.outcome == RunOutcome.LOST for run in same), "a phase is repeated that was not lost"
        run = Run(self._new_id(), target, phase, attempt)
        target.history.append(run)
        self.runs[run.id] = run
        self.messages.append(run.id)
        return run

    def _write(self, step: Step, *, state: str, run: Run | None, details: str) -> None:
        assert step.open, "a terminal step changes"
        step.state, step.run, step.details, step.view = state, run, details, None
        step.open = state not in TERMINAL_STEPS
        step.version += 1


_DO: dict[type, Callable[..., None]] = {
    AbortWaiting: CoordinatorSide._abort_waiting,
    MoveStrategy: CoordinatorSide._move_strategy,
    OpenPreparation: CoordinatorSide._open_preparation,
    RetryPreparation: CoordinatorSide._retry_preparation,
    EndPreparation: CoordinatorSide._end_preparation,
    ExpireRun: CoordinatorSide._expire_run,
}
