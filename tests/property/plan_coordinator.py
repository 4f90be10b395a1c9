"""Coordinator of the model: plans that are carried out whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from statemachine import plan as planning
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
from statemachine.proofs import SiteRun
from statemachine.states import (
    PLAYBOOK_PHASES,
    TERMINAL_STEPS,
    RunOutcome,
    RunState,
    StepState,
    StrategyState,
)
from tests.property.plan_looks import Rows
from tests.property.plan_rows import CONTENT, RELEASE, Hold, Preparation, Run, Step, Strategy
from tests.property.plan_rules import (
    OUTCOMES,
    STEP_WORDS,
    STRATEGY_WORDS,
    Commit,
    check_ending,
    check_rest,
)

LEASE_S = 40.0
GIVE_UP_S = 30.0
PLAYBOOKS = frozenset(PLAYBOOK_PHASES)
# States that no command of the moment may disturb.
ENDED = frozenset({StrategyState.COMPLETE, StrategyState.FAILED, StrategyState.ABORTED})


class StaleError(Exception):
    """A row has changed since the plan was made; nothing was written."""


class CoordinatorSide(Rows):
    """The rows with the coordinator that plans, and carries plans out."""

    def decide(self) -> list[Action]:
        """Plan, and write nothing: what a coordinator leaves that crashes before its commit."""
        snapshot = self.snapshot()
        actions = planning.plan(snapshot, self.now, self.limits)
        if self.thorough:
            assert actions == planning.plan(snapshot, self.now, self.limits), "two plans over the same rows differ"
            needed = planning.plan(self.needed_snapshot(), self.now, self.limits)
            assert actions == needed, "the needed rows do not lead to the plan of all rows"
        return actions

    def settle(self) -> None:
        """Run one pass of the coordinator: plan and carry out until nothing is unlocked."""
        for _round in range(20):
            actions = self.decide()
            if not actions:
                break
            self.carry_out(actions)
            if not any(action.unlocks for action in actions):
                break
        else:
            raise AssertionError("the plan never comes to rest")
        if self.thorough:
            assert self.decide() == [], "a pass left something to do"
            if self.strategy is not None:
                check_rest(self.strategy, self.preparations, self.now)

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
        commit = Commit(self.strategy, self.preparations)
        for action in others:
            _DO[type(action)](self, action)
        for move in moves:
            self._move_step(by_id[move.step_id], move)
        commit.check()

    def _abort_waiting(self, action: AbortWaiting) -> None:
        for step in self._strategy_of(action.strategy_id).steps:
            if step.state == action.change.from_state:
                if step.run is not None and step.run.state == RunState.QUEUED:
                    self._withdraw(step.run)
                self._write(step, state=action.change.to_state, run=None, details="", outcome="aborted")

    def _move_strategy(self, action: MoveStrategy) -> None:
        strategy = self._strategy_of(action.strategy_id)
        assert strategy.state == action.from_state
        assert action.to_state in STRATEGY_WORDS, "a word in `state` is not one of the contract"
        strategy.state = action.to_state
        if action.to_state in ENDED:
            check_ending(strategy)

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
            self._remember(step, run)
        else:
            assert step.run is None, "a step loses a run whose outcome nobody read"
        if not move.path and step.state == StepState.INITIAL:
            self._check_may_start(step)
        state = move.path[-1] if move.path else step.state
        self._check_passing(step, move)
        if StepState.PACKAGES in move.path and step.from_version != RELEASE:
            owner = (step.strategy.id, None) if step.strategy else (None, step.id)
            key = (owner, step.from_version)
            ready = [one.state for one in self.preparations if (one.owner, one.from_version) == key]
            assert ready == ["complete"], "packages are staged that were not prepared"
        details = move.details if move.path else step.details
        self._write(step, state=state, run=None, details=details, outcome=move.outcome)
        step.preparing, step.attempt = move.preparing, move.attempt
        if move.path and state == StepState.PREPARE:
            holds = step.strategy.holds if step.strategy else ()
            is_held = any(hold.covers(step) for hold in holds if hold.preparation is None)
            assert move.preparing != is_held, "a place is lost, or kept under a hold"
        if move.run_phase is not None:
            assert step.cancel_by is None, "a phase begins at a site that is to be cancelled"
            assert not (step.strategy and step.strategy.stops(step)), "a phase is handed out under a hold"
            step.run = self._dispatch(step, move.run_phase, move.attempt)

    @staticmethod
    def _remember(step: Step, run: Run) -> None:
        """Keep what an ended run says of the content of its site."""
        is_proof = run.phase == StepState.PACKAGES and run.outcome == RunOutcome.SUCCEEDED
        step.subcloud.runs.append(
            SiteRun(
                id=run.id,
                phase=run.phase,
                outcome=run.outcome,
                release=RELEASE,
                from_version=step.from_version,
                for_sw_deploy=False,
                content=CONTENT if is_proof else None,
            )
        )

    @staticmethod
    def _check_passing(step: Step, move: MoveStep) -> None:
        """Check that the packages are passed where the newest run of them at the site succeeded, and nowhere else."""
        if StepState.PACKAGES not in move.path:
            return
        newest = next((run for run in reversed(step.subcloud.runs) if run.phase == StepState.PACKAGES), None)
        versions = {run.from_version for run in step.subcloud.runs if newest is not None and run.id > newest.id}
        is_proved = (
            step.resumes
            and newest is not None
            and newest.outcome == RunOutcome.SUCCEEDED
            and versions | {newest.from_version} <= {step.from_version, None}
        )
        assert is_proved == (move.proved_by is not None), "packages are passed that are not proved, or brought again"
        assert (StepState.IMAGES in move.path) == is_proved, "another phase than the packages is passed"

    def _check_may_start(self, step: Step) -> None:
        raise NotImplementedError

    def _open_preparation(self, action: OpenPreparation) -> None:
        key = (action.owner, action.from_version)
        assert all((one.owner, one.from_version) != key for one in self.preparations), "a preparation is opened twice"
        self._check_may_prepare(action.owner, action.from_version)
        one = Preparation(self._new_id(), action.owner, action.from_version, action.opened_by_step_id)
        one.run = self._dispatch(one, action.phase, 1)
        self.preparations.append(one)

    def _check_may_prepare(self, owner: object, from_version: str) -> None:
        wanted = [
            step
            for step in self.steps
            if step.open
            and not step.cancel_by
            and step.state == StepState.PREPARE
            and (step.look().owner, step.from_version) == (owner, from_version)
        ]
        free = [step for step in wanted if step.strategy is None or not step.strategy.stops(step)]
        assert free, "a preparation is begun that only held steps wait for"

    def _retry_preparation(self, action: RetryPreparation) -> None:
        one = self._consumed(action.preparation_id, action.consumed_run_id)
        assert not self.runs[action.consumed_run_id].cancel, "a preparation goes on that was cancelled"
        one.run = self._dispatch(one, action.phase, action.attempt)
        one.view = None

    def _repeat_preparation(self, action: RepeatPreparation) -> None:
        (one,) = [one for one in self.preparations if one.id == action.preparation_id]
        assert one.state == "void", "a preparation is repeated whose result counts"
        self._check_may_prepare(one.owner, one.from_version)
        one.state, one.details, one.view = "running", "", None
        one.history.clear()
        one.run = self._dispatch(one, action.phase, 1)

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

    def _open_hold(self, action: OpenHold) -> None:
        strategy = self._strategy_of(action.strategy_id)
        preparation = next((one for one in self.preparations if one.id == action.preparation_id), None)
        like = (action.kind, preparation, action.stage)
        assert like not in [(one.kind, one.preparation, one.stage) for one in strategy.holds], "a hold is opened twice"
        assert action.reason
        hold = Hold(id=self._new_id(), kind=action.kind, scope=action.scope, since=self.now)
        hold.preparation, hold.stage, hold.until = preparation, action.stage, action.until
        if action.kind in ("soak", "gate"):
            assert action.stage not in strategy.passed, "a stage is held that is passed"
        self.begin_hold(strategy, hold)

    def begin_hold(self, strategy: Strategy, hold: Hold) -> None:
        """Open a hold, and withdraw the queued runs of the steps that it covers."""
        strategy.holds.append(hold)
        strategy.was_held = True
        for step in strategy.steps:
            if step.run is not None and step.run.state == RunState.QUEUED and hold.covers(step):
                self._withdraw(step.run)

    def end_hold(self, strategy: Strategy, hold: Hold) -> None:
        """End one hold."""
        strategy.holds.remove(hold)
        if hold.covers_all:
            strategy.held.append((hold.since, self.now))

    def _end_holds(self, action: EndHolds) -> None:
        strategy = self._strategy_of(action.strategy_id)
        for hold in tuple(strategy.holds):
            if action.step_ids and hold.step_id not in action.step_ids:
                continue
            if action.kind in (None, hold.kind) and action.stage in (None, hold.stage):
                assert action.kind is None or (hold.until or 0.0) <= self.now, "a soak ends before its time"
                self.end_hold(strategy, hold)

    def _pass_stage(self, action: PassStage) -> None:
        strategy, stage = self._strategy_of(action.strategy_id), action.stage
        assert stage not in strategy.passed, "a stage is passed twice"
        assert not any(one.open for one in strategy.steps if one.stage <= stage), "a stage is passed before its end"
        succeeded = any(one.outcome == "complete" for one in strategy.steps if one.stage == stage)
        assert succeeded, "a stage is passed that has shown nothing"
        assert stage not in strategy.rollout.gates or stage in strategy.approved, "a gate is passed unseen"
        strategy.passed.add(stage)

    def _withdraw_runs(self, action: WithdrawRuns) -> None:
        for run_id in action.run_ids:
            # One that was claimed meanwhile goes on.
            if self.runs[run_id].state == RunState.QUEUED:
                self._withdraw(self.runs[run_id])

    def _withdraw(self, run: Run) -> None:
        run.state, run.outcome, run.consumed = RunState.FINISHED, RunOutcome.WITHDRAWN, True
        step = run.target
        assert isinstance(step, Step)
        self._write(step, state=step.state, run=None, details=step.details)
        step.attempt, step.preparing = run.attempt, False

    def _request_cancel(self, action: RequestCancel) -> None:
        self.mark_begun(self._strategy_of(action.strategy_id), action.requested_by)

    def mark_begun(self, strategy: Strategy, caller: str) -> None:
        """Mark the steps of a strategy that have started, and all that runs for them, to be stopped."""
        strategy.cancel_by = strategy.cancel_by or caller
        for step in strategy.steps:
            if step.open and step.state != StepState.INITIAL:
                self.mark(step, caller)
        for one in self.preparations:
            if one.owner[0] == strategy.id and one.run is not None:
                one.run.cancel = True
                one.run.changed()

    def mark(self, step: Step, caller: str) -> None:
        """Mark a step and its run to be stopped."""
        step.cancel_by = step.cancel_by or caller
        step.view = None
        if step.run is not None:
            step.run.cancel = True
            step.run.changed()

    def _dispatch(self, target: Step | Preparation, phase: str, attempt: int) -> Run:
        same = [run for run in target.history if run.phase == phase]
        assert attempt == sum(run.outcome == RunOutcome.LOST for run in same) + 1, "an attempt is counted wrongly"
        assert attempt <= self.limits.max_attempts, "more attempts than allowed"
        again = (RunOutcome.LOST, RunOutcome.DRAINED, RunOutcome.WITHDRAWN)
        assert all(run.outcome in again for run in same), "a phase is repeated that was not lost"
        run = Run(self._new_id(), target, phase, attempt)
        target.history.append(run)
        self.runs[run.id] = run
        self.messages.append(run.id)
        return run

    def _write(self, step: Step, *, state: str, run: Run | None, details: str, outcome: str | None = None) -> None:
        assert step.open, "a terminal step changes"
        assert state in STEP_WORDS, "a word in `state` is not one of the contract"
        step.state, step.run, step.details, step.view = state, run, details, None
        step.open = state not in TERMINAL_STEPS
        step.outcome = outcome
        assert outcome in OUTCOMES.get(state, [None]), "the outcome of a step does not fit its state"
        if outcome == "cancelled":
            assert step.cancel_by is not None, "a step is cancelled that nobody wanted to cancel"
        step.version += 1


_DO: dict[type, Callable[..., None]] = {
    AbortWaiting: CoordinatorSide._abort_waiting,
    MoveStrategy: CoordinatorSide._move_strategy,
    OpenPreparation: CoordinatorSide._open_preparation,
    RetryPreparation: CoordinatorSide._retry_preparation,
    RepeatPreparation: CoordinatorSide._repeat_preparation,
    EndPreparation: CoordinatorSide._end_preparation,
    ExpireRun: CoordinatorSide._expire_run,
    OpenHold: CoordinatorSide._open_hold,
    EndHolds: CoordinatorSide._end_holds,
    PassStage: CoordinatorSide._pass_stage,
    WithdrawRuns: CoordinatorSide._withdraw_runs,
    RequestCancel: CoordinatorSide._request_cancel,
}
