"""A whole installation in memory: rows, workers, messages, a clock; every rule of the plan asserted at every change.

The coordinator's transaction is all or nothing, as in the database. Everything else may go wrong at any moment:
messages are lost, repeated, reordered, workers die or lose the database, a plan grows stale before it is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from statemachine.eligibility import Candidate, number_stages
from statemachine.errors import IllegalTransitionError
from statemachine.machines import fire_strategy
from statemachine.states import RunState, StepState, StrategyState
from tests.property.plan_coordinator import LEASE_S, MOVING
from tests.property.plan_rows import RELEASE, Preparation, Run, Step, Strategy
from tests.property.plan_workers import WorkerSide


class Fleet(WorkerSide):
    """The installation. `limits` is what the plan obeys; `groups` gives the (apply type, width) of each group."""

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
        raise AssertionError("no rest under fair scheduling")

    def _work(self, outcome: Callable[[Run], tuple[str, str | None]]) -> None:
        """Lose every message; workers find the runs by themselves, and finish what they hold."""
        self.messages.clear()
        for worker in self.workers:
            self.take_late(worker)
            self.take_waiting(worker)
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


FROM_VERSIONS = (RELEASE, "21.12", "22.06")
