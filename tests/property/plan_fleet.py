"""A whole installation in memory: rows, workers, messages, a clock; every rule of the plan asserted at every change.

The coordinator's transaction is all or nothing, as in the database. Everything else may go wrong at any moment:
messages are lost, repeated, reordered, workers die or lose the database, a plan grows stale before it is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from statemachine.eligibility import Candidate, number_stages
from statemachine.errors import IllegalTransitionError
from statemachine.machines import STEP, fire_strategy
from statemachine.rollout import BETWEEN_STAGES, HoldKind
from statemachine.states import PreparationState, RunState, StepState, StrategyState
from tests.property.plan_coordinator import LEASE_S
from tests.property.plan_looks import MOVING
from tests.property.plan_rows import RELEASE, Hold, Preparation, Rollout, Run, Step, Strategy, Subcloud
from tests.property.plan_workers import WorkerSide


class Fleet(WorkerSide):
    """The installation with its commands."""

    def create(
        self,
        *,
        chosen: Iterable[int],
        apply_type: str | None,
        width: int | None,
        stop: bool,
        rollout: Rollout | None = None,
    ) -> bool:
        """Create a strategy over subclouds that are managed and have nothing to do; False when refused."""
        busy = {step.subcloud.id for step in self.steps if step.open}
        free = [self.subclouds[one] for one in chosen if one not in busy and self.subclouds[one].managed]
        if self.strategy is not None or not free:
            return False
        strategy = self.strategy = Strategy(self._new_id(), stop, rollout or Rollout())
        for subcloud, stage in self._stages(free, strategy, apply_type, width):
            strategy.steps.append(Step(self._new_id(), strategy, subcloud, stage))
            strategy.sizes[stage] = strategy.sizes.get(stage, 0) + 1
        self.steps += strategy.steps
        self.settle()
        return True

    def _stages(
        self, free: list[Subcloud], strategy: Strategy, apply_type: str | None, width: int | None
    ) -> Iterator[tuple[Subcloud, int]]:
        """Yield the subclouds with their stages; of a window these are the groups, with the widths of it."""
        wanted = [
            Candidate(
                subcloud_id=one.id,
                group_id=one.group,
                group_apply_type=self.groups[one.group][0],
                group_max_parallel=self.groups[one.group][1],
            )
            for one in free
        ]
        if not strategy.is_window:
            for subcloud_id, stage in number_stages(wanted, apply_type=apply_type, max_parallel=width):
                yield self.subclouds[subcloud_id], stage
            return
        strategy.width = width
        if strategy.rollout.stage_by_stage:
            # Stages that begin with one site and are larger each time, with a budget for the first.
            for place, subcloud in enumerate(free):
                yield subcloud, (place + 1).bit_length()
            if width is None:
                strategy.stage_widths = {1: 1, 2: 1, 3: 3}
            return
        for stage, group in enumerate(sorted({one.group for one in free}), start=1):
            if width is None:
                serial = (apply_type or self.groups[group][0]) == "serial"
                strategy.stage_widths[stage] = 1 if serial else self.groups[group][1]
            yield from ((one, stage) for one in free if one.group == group)

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
            strategy.applied_at = self.now if verb == "apply" else strategy.applied_at
        self.settle()
        strategy.abort_answered = strategy.abort_answered or verb == "abort"
        return True

    def _forget(self, strategy: Strategy) -> None:
        assert not any(step.begun for step in strategy.steps), "a strategy is deleted that still works"
        self.steps = [step for step in self.steps if step.strategy is not strategy]
        self.preparations = [one for one in self.preparations if one.owner[0] != strategy.id]
        self.strategy = None

    def cancel(self, caller: str = "alice") -> bool:
        """Abort the strategy and stop what runs; False when refused."""
        strategy = self.strategy
        if strategy is None or strategy.state not in MOVING:
            return False
        strategy.cancel_by = strategy.cancel_by or caller
        if strategy.state == StrategyState.APPLYING:
            strategy.state = fire_strategy(strategy.state, "abort")
        self.mark_begun(strategy, caller)
        self.settle()
        strategy.abort_answered = True
        for step in strategy.steps:
            assert step.cancel_by or not step.open, "a step escaped the cancel"
        return True

    def cancel_step(self, place: int, caller: str = "bob") -> bool:
        """Cancel the open step of one subcloud; False when there is none."""
        for step in self._open_steps_of(place):
            self.mark(step, caller)
            if step.preparing:
                self._cancel_lonely(step)
            self.settle()
            return True
        return False

    def retry_step(self, place: int) -> bool:
        """Retry the failed or cancelled step of one subcloud; False when refused: it is busy, or the strategy stops."""
        strategy, subcloud = self.strategy, self.subclouds[place]
        if strategy is None or strategy.state != StrategyState.APPLYING or strategy.is_halted:
            return False
        if any(step.open and step.subcloud is subcloud for step in self.steps):
            return False
        for step in strategy.steps:
            if step.subcloud is subcloud and step.outcome in ("failed", "cancelled"):
                self._begin_series(strategy, step)
                self.settle()
                return True
        return False

    def _begin_series(self, strategy: Strategy, step: Step) -> None:
        for one in self.preparations:
            is_needed = one.owner == (strategy.id, None) and one.from_version == step.from_version
            if is_needed and one.state == PreparationState.FAILED:
                one.state, one.opened_by, one.view = PreparationState.VOID, step.id, None
        step.state = STEP.fire(step.state, "retry")
        if strategy.is_window:
            step.position = max(one.position for one in strategy.steps) + 1
        else:
            # All others may have ended while the plan that ends the strategy is still to come.
            open_stage = min((one.stage for one in strategy.steps if one.open), default=step.stage)
            step.stage = max(step.stage, open_stage)
            strategy.sizes[step.stage] = sum(one.stage == step.stage for one in strategy.steps)
        step.open, step.outcome, step.cancel_by, step.details, step.attempt = True, None, None, "", 1
        step.history.clear()
        step.resumes = any(run.content is not None for run in step.subcloud.runs)
        step.version += 1
        step.view = None

    def _cancel_lonely(self, step: Step) -> None:
        """Cancel the preparation of a step when no other waits for it."""
        key = step.look().owner, step.from_version
        others = [one for one in self.steps if one.open and one.state == StepState.PREPARE and not one.cancel_by]
        if key not in [(one.look().owner, one.from_version) for one in others]:
            for preparation in self.preparations:
                if (preparation.owner, preparation.from_version) == key and preparation.run is not None:
                    preparation.run.cancel = True
                    preparation.run.changed()

    def _open_steps_of(self, place: int) -> list[Step]:
        subcloud = self.subclouds[place]
        return [
            step
            for step in self.steps
            if step.subcloud is subcloud and step.open and (step.strategy is None or step.strategy.state in MOVING)
        ]

    def pause(self, scope: str) -> bool:
        """Hold the strategy; a wider scope widens. False when refused."""
        strategy = self.strategy
        if strategy is None or strategy.state != StrategyState.APPLYING:
            return False
        for hold in strategy.holds:
            if hold.kind == HoldKind.OPERATOR and hold.step_id is None:
                if hold.scope in (scope, "phases"):
                    return True
                strategy.holds.remove(hold)
                break
        self.begin_hold(strategy, Hold(id=self._new_id(), kind=HoldKind.OPERATOR, scope=scope, since=self.now))
        self.settle()
        return True

    def resume(self, allow: int | None = None) -> bool:
        """End all holds but those of single sites; False when refused: the budget is exceeded and stays so."""
        strategy = self.strategy
        if strategy is None or strategy.state != StrategyState.APPLYING:
            return False
        exceeded = strategy.stages_over_budget
        if (strategy.is_over_budget or exceeded) and allow is None:
            return False
        if allow is not None:
            for stage in exceeded:
                failed = sum(step.stage == stage and step.state == StepState.FAILED for step in strategy.steps)
                strategy.rollout.stage_budgets[stage] = failed + allow
            if strategy.rollout.max_failures is not None and (strategy.is_over_budget or not exceeded):
                strategy.rollout.max_failures = strategy.failed + allow
        for hold in [one for one in strategy.holds if one.step_id is None and one.kind not in BETWEEN_STAGES]:
            self.end_hold(strategy, hold)
            if hold.preparation is not None:
                hold.preparation.state, hold.preparation.view = "void", None
        self.settle()
        return True

    def approve(self, stage: int) -> bool:
        """Approve what comes after a stage, before its end or at its gate; False when nothing waits for that."""
        strategy = self.strategy
        if strategy is None or strategy.state != StrategyState.APPLYING or stage in strategy.passed:
            return False
        gates = [one for one in strategy.holds if one.kind == HoldKind.GATE and one.stage == stage]
        for hold in gates:
            self.end_hold(strategy, hold)
            strategy.passed.add(stage)
        strategy.approved.add(stage)
        self.settle()
        return bool(gates)

    def hold_step(self, place: int, *, held: bool) -> bool:
        """Hold one site, or let it go on; False when there is no such step."""
        strategy = self.strategy
        steps = [step for step in self._open_steps_of(place) if step.strategy is not None]
        if strategy is None or not steps or strategy.state != StrategyState.APPLYING:
            return False
        (step,) = steps
        present = [hold for hold in strategy.holds if hold.step_id == step.id]
        if held and not present:
            hold = Hold(id=self._new_id(), kind=HoldKind.OPERATOR, scope="phases", since=self.now, step_id=step.id)
            self.begin_hold(strategy, hold)
        for hold in present if not held else ():
            self.end_hold(strategy, hold)
        self.settle()
        return True

    def put_first(self, place: int) -> bool:
        """Put a site before all that have not started; False when it has started."""
        strategy = self.strategy
        for step in self._open_steps_of(place):
            if strategy is not None and step.strategy is strategy and step.not_started:
                step.position = min(0, *(one.position for one in strategy.steps)) - 1
                step.view = None
                self.settle()
                return True
        return False

    def change(self, *, width: int | None = None, max_failures: int | None = None) -> bool:
        """Change the width of a window, or the failure budget; False when refused."""
        strategy = self.strategy
        if strategy is None or strategy.state not in ("initial", "applying"):
            return False
        if width is not None and strategy.is_window:
            strategy.width = width
            if not strategy.rollout.stage_by_stage:
                strategy.stage_widths = {}
        if max_failures is not None and not strategy.is_halted:
            strategy.rollout.max_failures = max_failures
            for hold in [one for one in strategy.holds if one.kind == HoldKind.BUDGET and one.stage is None]:
                self.end_hold(strategy, hold)
        self.settle()
        return True

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
        strategy = step.strategy
        if strategy is None:
            return
        assert not strategy.stops(step), "a step starts under a hold"
        if strategy.is_window:
            if strategy.rollout.stage_by_stage:
                unseen = {one.stage for one in strategy.steps if one.stage < step.stage} - strategy.passed
                assert not unseen, "a stage starts before the one before it is passed"
            return
        earlier = [one for one in strategy.steps if one.stage < step.stage]
        assert not any(one.open for one in earlier), "a stage starts before the one before it has ended"
        if strategy.stop_on_failure:
            assert not any(one.state == StepState.FAILED for one in earlier), "a stage starts after a stopping failure"

    def check(self) -> None:
        """Check what must hold at every moment."""
        strategy = self.strategy
        if strategy is not None:
            begun = [step.stage for step in strategy.steps if step.open and step.begun]
            if begun and not strategy.is_window:
                assert min(begun) == max(begun), "two stages are worked on at once"
                assert len(begun) <= strategy.sizes[begun[0]], "more in flight than the stage is wide"
            if strategy.abort_answered:
                assert not any(step.state == StepState.INITIAL for step in strategy.steps), "a step escaped the abort"
        for step in self.steps:
            if len(step.history) > 1:
                _check_runs(step)
        for preparation in self.preparations:
            _check_runs(preparation)
        held = [id(run.target) for worker in self.workers for run in worker.held]
        assert len(held) == len(set(held)), "two processes work on the same thing"

    def quiesce(
        self, outcome: Callable[[Run], tuple[str, str | None]], between: Callable[[], None] = lambda: None
    ) -> None:
        """Schedule fairly until all is at rest, and check that everything that was accepted came to an end.

        `between` is called after each round of work, and does something in a few of them only.
        """
        for worker in self.workers:
            if worker.alive:
                self.connect(worker, connected=True)
            else:
                self.restart(worker, knows=False)
        for _round in range(200):
            self.settle()
            if self._at_rest():
                return
            self._release()
            self._work(outcome)
            self.check()
            between()
            self.settle()
            if not any(run.state == RunState.QUEUED for run in self._open_runs()):
                # Nobody holds what is left: only the end of a lease helps.
                self.advance(LEASE_S + 1)
        raise AssertionError("no rest under fair scheduling")

    def _release(self) -> None:
        """End all holds but soak times, which end by themselves."""
        if self.strategy is None or not self.strategy.holds:
            return
        for place in range(len(self.subclouds)):
            self.hold_step(place, held=False)
        self.resume(allow=1)
        for hold in tuple(self.strategy.holds):
            if hold.kind == HoldKind.GATE and hold.stage is not None:
                self.approve(hold.stage)

    def _work(self, outcome: Callable[[Run], tuple[str, str | None]]) -> None:
        """Lose every message; workers find the runs by themselves, and finish what they hold."""
        self.messages.clear()
        for worker in self.workers:
            self.take_late(worker)
            self.take_waiting(worker)
            for run in tuple(worker.held):
                self.finish(worker, run, *(("cancelled", None) if run.cancel else outcome(run)))

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
