"""A whole installation in memory: rows, workers, messages, a clock; every rule of the plan asserted at every change.

The coordinator's transaction is all or nothing, as in the database. Everything else may go wrong at any moment:
messages are lost, repeated, reordered, workers die or lose the database, a plan grows stale before it is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from plan_rows import RELEASE, Preparation, Run, Step, Strategy, Subcloud, Worker

from statemachine.actions import (
    AbortWaiting,
    Action,
    EndPreparation,
    ExpireRun,
    MoveStep,
    MoveStrategy,
    OpenPreparation,
    Redispatch,
    RetryPreparation,
)
from statemachine.machines import IllegalTransitionError, fire_strategy
from statemachine.plan import plan
from statemachine.snapshot import Limits, Snapshot, StrategyView
from statemachine.stages import Candidate, number_stages
from statemachine.states import MOVING_STRATEGIES, TERMINAL_STEPS, RunOutcome, RunState, StepState, StrategyState

LEASE_S = 45.0
GIVE_UP_S = 30.0
PLAYBOOKS = frozenset({StepState.PREPARE, StepState.PACKAGES, StepState.IMAGES})
MOVING = frozenset(str(state) for state in MOVING_STRATEGIES)
# States that no command of the moment may disturb.
ENDED = frozenset({StrategyState.COMPLETE, StrategyState.FAILED, StrategyState.ABORTED})


class StaleError(Exception):
    """A row has changed since the plan was made; nothing was written."""


class Fleet:
    """The installation. `limits` is what the plan obeys; `groups` gives the (apply type, width) of each group."""

    def __init__(
        self, *, subclouds: int, groups: list[tuple[str, int]], workers: list[int], limits: Limits, thorough: bool
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
        # Ids of runs that some worker is told to take.
        self.messages: list[int] = []
        self.workers = [
            Worker(owner=place + 1, slots=slots, renewed_at=self.now) for place, slots in enumerate(workers)
        ]
        self._owners = len(workers)
        self._ids = 0

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    # ---- the coordinator -------------------------------------------------------------------------------------

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
            if step.state == StepState.INITIAL:
                if step.run is not None and step.run.state == RunState.QUEUED:
                    step.run.state, step.run.outcome, step.run.consumed = "finished", RunOutcome.WITHDRAWN, True
                self._write(step, state=StepState.ABORTED, run=None, details="")

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
            assert not run.consumed, "one outcome is concluded from twice"
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
            step.run = self._hand_out(step, move.run_phase, move.attempt)

    def _open_preparation(self, action: OpenPreparation) -> None:
        key = (action.owner, action.from_version)
        assert all((one.owner, one.from_version) != key for one in self.preparations), "a preparation is opened twice"
        one = Preparation(self._new_id(), action.owner, action.from_version, action.opened_by_step_id)
        one.run = self._hand_out(one, StepState.PREPARE, 1)
        self.preparations.append(one)

    def _retry_preparation(self, action: RetryPreparation) -> None:
        one = self._consumed(action.preparation_id, action.consumed_run_id)
        one.run = self._hand_out(one, StepState.PREPARE, action.attempt)
        one.view = None

    def _end_preparation(self, action: EndPreparation) -> None:
        one = self._consumed(action.preparation_id, action.consumed_run_id)
        one.state, one.details, one.view = action.state, action.details, None

    def _consumed(self, preparation_id: int, run_id: int) -> Preparation:
        run = self.runs[run_id]
        (one,) = [one for one in self.preparations if one.id == preparation_id]
        assert one.state == "running", "a preparation that has ended changes"
        assert one.run is run
        assert not run.consumed, "one outcome is concluded from twice"
        run.consumed = True
        return one

    def _expire_run(self, action: ExpireRun) -> None:
        run = self.runs[action.run_id]
        if run.state == RunState.RUNNING and run.lease_until == action.lease_until:
            run.state, run.outcome = RunState.FINISHED, RunOutcome.LOST
            run.changed()

    def _redispatch(self, action: Redispatch) -> None:
        run = self.runs[action.run_id]
        if run.state == RunState.QUEUED:
            run.dispatched_at = self.now
            run.changed()
        self.messages.append(run.id)

    def _hand_out(self, target: Step | Preparation, phase: str, attempt: int) -> Run:
        same = [run for run in target.history if run.phase == phase]
        assert attempt == len(same) + 1
        assert attempt <= self.limits.max_attempts, "more attempts than allowed"
        assert all(run.outcome == RunOutcome.LOST for run in same), "a phase is repeated that was not lost"
        run = Run(self._new_id(), target, phase, attempt, self.now)
        target.history.append(run)
        self.runs[run.id] = run
        self.messages.append(run.id)
        return run

    def _write(self, step: Step, *, state: str, run: Run | None, details: str) -> None:
        assert step.open, "a terminal step changes"
        step.state, step.run, step.details, step.view = state, run, details, None
        step.open = state not in TERMINAL_STEPS
        step.version += 1

    # ---- the workers -----------------------------------------------------------------------------------------

    def deliver(self, place: int, worker: Worker, *, again: bool = False) -> None:
        """Bring one message to a worker; with `again` it stays in the queue to come once more."""
        run = self.runs.get(self.messages[place])
        if not again:
            # Order means nothing: the last one takes the place.
            self.messages[place] = self.messages[-1]
            self.messages.pop()
        if run is not None:
            self.claim(worker, run)

    def claim(self, worker: Worker, run: Run) -> bool:
        """Let a worker take a queued run under a lease; False when it cannot, or somebody has it."""
        if not (worker.alive and worker.connected) or run.state != RunState.QUEUED:
            return False
        if run.phase in PLAYBOOKS and sum(one.phase in PLAYBOOKS for one in worker.held) >= worker.slots:
            return False
        run.state, run.owner, run.lease_until = RunState.RUNNING, worker.owner, self.now + LEASE_S
        run.changed()
        step = run.target
        if isinstance(step, Step) and run.phase == StepState.PRECHECK and step.state == StepState.INITIAL:
            assert not (step.strategy and step.strategy.abort_answered), "a step starts after the abort was answered"
            self._check_may_start(step)
            self._write(step, state=StepState.PRECHECK, run=run, details="")
        for other in self.workers:
            assert all(one.target is not run.target for one in other.held), "two workers work on the same thing"
        worker.held.append(run)
        return True

    def hand_back(self, worker: Worker, run: Run) -> None:
        """Let a worker give a claimed run back that it never began."""
        worker.held.remove(run)
        if run.owner == worker.owner and run.state == RunState.RUNNING:
            run.state, run.owner, run.lease_until = RunState.QUEUED, 0, None
            run.changed()

    def take_waiting(self, worker: Worker) -> None:
        """Let a worker take the oldest runs that wait for a slot."""
        for run in [one for one in self.runs.values() if one.state == RunState.QUEUED and one.phase in PLAYBOOKS]:
            if not self.claim(worker, run):
                return

    def busy(self, run: Run) -> bool:
        """Tell whether another step of the run's subcloud is being worked on."""
        mine = run.target
        return isinstance(mine, Step) and any(
            step.subcloud is mine.subcloud and step is not mine and step.open and step.state != StepState.INITIAL
            for step in self.steps
        )

    def finish(self, worker: Worker, run: Run, outcome: str, from_version: str | None) -> None:
        """Let a worker end a run; without the database its report stays with it."""
        worker.held.remove(run)
        worker.unwritten.append((run, outcome, from_version))
        if worker.connected:
            self._report(worker)

    def _report(self, worker: Worker) -> None:
        for run, outcome, from_version in worker.unwritten:
            if run.owner != worker.owner or run.state != RunState.RUNNING:
                continue
            run.state, run.outcome, run.lease_until = RunState.FINISHED, outcome, None
            run.changed()
            if from_version is not None and isinstance(run.target, Step):
                run.target.from_version = from_version
        worker.unwritten.clear()

    def die(self, worker: Worker) -> None:
        """Kill a worker process; its runs die with it, and what it had not written is lost."""
        worker.alive = False
        worker.held.clear()
        worker.unwritten.clear()

    def restart(self, worker: Worker, *, knows: bool) -> None:
        """Start a worker again; it may know that its predecessor is dead, and says so of the runs it held."""
        if worker.alive:
            self.die(worker)
        if knows:
            for run in self.runs.values():
                if run.owner == worker.owner and run.state == RunState.RUNNING:
                    run.state, run.outcome, run.lease_until = RunState.FINISHED, RunOutcome.LOST, None
                    run.changed()
        self._owners += 1
        worker.owner, worker.alive, worker.connected, worker.renewed_at = self._owners, True, True, self.now

    def connect(self, worker: Worker, *, connected: bool) -> None:
        """Take the database out of a worker's reach, or bring it back."""
        worker.connected = connected
        if connected and worker.alive:
            self._report(worker)
            self._renew(worker)

    def advance(self, seconds: float) -> None:
        """Let time pass: workers renew, or give up what they cannot renew."""
        self.now += seconds
        for worker in self.workers:
            if not worker.alive:
                continue
            if worker.connected:
                self._renew(worker)
            elif self.now - worker.renewed_at > GIVE_UP_S:
                worker.unwritten += [(run, RunOutcome.LOST, None) for run in worker.held]
                worker.held.clear()

    def _renew(self, worker: Worker) -> None:
        worker.renewed_at = self.now
        for run in worker.held:
            if run.owner == worker.owner and run.state == RunState.RUNNING:
                run.lease_until = self.now + LEASE_S
                run.changed()
        worker.held = [run for run in worker.held if run.owner == worker.owner and run.state == RunState.RUNNING]

    # ---- commands: each one transaction, with the plan in it ---------------------------------------------------

    def create(self, *, chosen: Iterable[int], apply_type: str | None, width: int | None, stop: bool) -> bool:
        """Create a strategy over subclouds that are managed and have nothing to do; False when refused."""
        busy = {step.subcloud.id for step in self.steps if step.open}
        free = [self.subclouds[one] for one in chosen if one not in busy and self.subclouds[one].managed]
        if self.strategy is not None or not free:
            return False
        strategy = self.strategy = Strategy(id=self._new_id(), stop_on_failure=stop)
        wanted = [
            Candidate(
                subcloud_id=one.id,
                group_id=one.group,
                group_apply_type=self.groups[one.group][0],
                group_max_parallel=self.groups[one.group][1],
            )
            for one in free
        ]
        for subcloud_id, stage in number_stages(wanted, apply_type=apply_type, max_parallel=width):
            strategy.steps.append(Step(self._new_id(), strategy, self.subclouds[subcloud_id], stage))
            strategy.widths[stage] = strategy.widths.get(stage, 0) + 1
        self.steps += strategy.steps
        self.settle()
        return True

    def command(self, verb: str) -> bool:
        """Apply, abort or delete the strategy; False when refused."""
        strategy = self.strategy
        if strategy is None:
            return False
        try:
            state = fire_strategy(strategy.state, verb)
        except IllegalTransitionError:
            return False
        if state == StrategyState.DELETING:
            self._forget(strategy)
        else:
            strategy.state = state
        self.settle()
        strategy.abort_answered = strategy.abort_answered or verb == "abort"
        return True

    def _forget(self, strategy: Strategy) -> None:
        assert not any(step.begun for step in strategy.steps), "a strategy is deleted that still works"
        self.steps = [step for step in self.steps if step.strategy is not strategy]
        self.preparations = [one for one in self.preparations if one.owner[0] != strategy.id]
        self.strategy = None

    def standalone(self, subcloud_id: int) -> bool:
        """Prestage one subcloud by itself; False when refused: it is busy, or its strategy moves."""
        subcloud = self.subclouds[subcloud_id]
        moving = self.strategy is not None and self.strategy.state in MOVING
        for step in self.steps:
            if step.subcloud is subcloud and step.open and (step.strategy is None or moving):
                return False
        self.steps = [one for one in self.steps if one.open or one.strategy is not None]
        self.steps.append(Step(self._new_id(), None, subcloud, 1))
        self.settle()
        return True

    def manage(self, subcloud_id: int, *, managed: bool) -> None:
        """Manage or unmanage a subcloud."""
        subcloud = self.subclouds[subcloud_id]
        subcloud.managed = managed
        for step in self.steps:
            if step.subcloud is subcloud:
                step.view = None

    # ---- the rules -------------------------------------------------------------------------------------------

    def _check_may_start(self, step: Step) -> None:
        if step.strategy is None:
            return
        earlier = [one for one in step.strategy.steps if one.stage < step.stage]
        assert not any(one.open for one in earlier), "a stage starts before the one before it has ended"
        if step.strategy.stop_on_failure:
            assert not any(one.state == StepState.FAILED for one in earlier), "a stage starts after a stopping failure"

    def check(self) -> None:
        """Check what must hold at every moment."""
        strategy = self.strategy
        if strategy is not None:
            begun = [step.stage for step in strategy.steps if step.open and step.begun]
            if begun:
                assert begun[0] == begun[-1], "two stages are worked on at once"
                assert len(begun) <= strategy.widths[begun[0]], "more in flight than the stage is wide"
            if strategy.abort_answered:
                assert not any(step.state == StepState.INITIAL for step in strategy.steps), "a step escaped the abort"
        for step in self.steps:
            if len(step.history) > 1:
                _check_runs(step)
        for preparation in self.preparations:
            _check_runs(preparation)
        held = [id(run.target) for worker in self.workers for run in worker.held]
        assert len(held) == len(set(held)), "two processes work on the same thing"

    def check_ending(self, strategy: Strategy) -> None:
        """Check that the end of a strategy is the one that its steps call for."""
        states = {step.state for step in strategy.steps}
        if StepState.FAILED in states:
            expected = StrategyState.FAILED
        elif StepState.ABORTED in states:
            expected = StrategyState.ABORTED
        else:
            expected = StrategyState.COMPLETE
        assert expected == strategy.state
        assert not any(step.begun for step in strategy.steps)
        still = {step.stage for step in strategy.steps if step.open}
        failed = {step.stage for step in strategy.steps if step.state == StepState.FAILED}
        assert not still or (strategy.stop_on_failure and min(still) > max(failed)), "a strategy ended too early"

    def quiesce(self, outcome: Callable[[Run], tuple[str, str | None]]) -> None:
        """Schedule fairly until all is at rest, and check that everything that was accepted came to an end."""
        for worker in self.workers:
            if worker.alive:
                self.connect(worker, connected=True)
            else:
                self.restart(worker, knows=False)
        for _round in range(200):
            self.settle()
            if self._at_rest():
                return
            self._work(outcome)
            self.check()
            self.settle()
            if not any(run.state == RunState.QUEUED for run in self._open_runs()):
                # Nobody holds what is left: only the end of a lease helps.
                self.advance(LEASE_S + 1)
            elif not self.messages:
                self.advance(self.limits.redispatch_after_s + 1)
        raise AssertionError("no rest under fair scheduling")

    def _work(self, outcome: Callable[[Run], tuple[str, str | None]]) -> None:
        """Bring every message to some worker, and let all workers finish what they hold."""
        for run_id in self.messages:
            any(self.claim(worker, self.runs[run_id]) for worker in self.workers)
        self.messages.clear()
        for worker in self.workers:
            for run in tuple(worker.held):
                self.finish(worker, run, *outcome(run))

    def _open_runs(self) -> list[Run]:
        targets: list[Step | Preparation] = [*self.steps, *self.preparations]
        return [one.run for one in targets if one.run is not None]

    def _at_rest(self) -> bool:
        moving = self.strategy is not None and self.strategy.state in MOVING
        return not moving and not any(step.open and step.strategy is None for step in self.steps)


def _check_runs(target: Step | Preparation) -> None:
    live = [run for run in target.history if run.state != "finished"]
    assert len(live) <= 1, "two live runs for one thing"
    assert not live or live[0] is target.run, "a live run that nobody waits for"


_DO: dict[type, Callable[..., None]] = {
    AbortWaiting: Fleet._abort_waiting,
    MoveStrategy: Fleet._move_strategy,
    OpenPreparation: Fleet._open_preparation,
    RetryPreparation: Fleet._retry_preparation,
    EndPreparation: Fleet._end_preparation,
    ExpireRun: Fleet._expire_run,
    Redispatch: Fleet._redispatch,
}
FROM_VERSIONS = (RELEASE, "21.12", "22.06")
