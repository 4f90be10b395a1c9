"""Workers of the model: they take messages, die, lose the database, renew leases and report."""

from __future__ import annotations

from statemachine.plan import start_of
from statemachine.states import RunOutcome, RunState, StepState
from tests.property.plan_coordinator import GIVE_UP_S, LEASE_S, PLAYBOOKS, CoordinatorSide
from tests.property.plan_rows import Run, Step, Worker


class WorkerSide(CoordinatorSide):
    """The rows with the workers that work on them."""

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
        """Let a worker claim a queued run under a lease; False when it cannot, or another one holds it."""
        if not (worker.alive and worker.connected) or run.state != RunState.QUEUED:
            return False
        if run.phase in PLAYBOOKS and sum(one.phase in PLAYBOOKS for one in worker.held) >= worker.slots:
            return False
        run.state, run.owner, run.lease_until = RunState.RUNNING, worker.owner, self.now + LEASE_S
        run.changed()
        step = run.target
        change = start_of(run.phase)
        if isinstance(step, Step) and change is not None and step.state == change.from_state:
            assert not (step.strategy and step.strategy.abort_answered), "a step starts after the abort was answered"
            self._check_may_start(step)
            self._write(step, state=change.to_state, run=run, details="")
        if isinstance(step, Step) and step.strategy and not run.was_claimed:
            # One that was claimed before the hold, and handed back, has started already.
            assert not step.strategy.stops(step), "a phase starts under a hold"
        run.was_claimed = True
        for other in self.workers:
            assert all(one.target is not run.target for one in other.held), "two workers work on the same thing"
        worker.held.append(run)
        return True

    def hand_back(self, worker: Worker, run: Run) -> None:
        """Let a worker queue a claimed run again that it never began."""
        worker.held.remove(run)
        if run.owner == worker.owner and run.state == RunState.RUNNING:
            run.state, run.owner, run.lease_until = RunState.QUEUED, 0, None
            run.changed()

    def take_late(self, worker: Worker) -> None:
        """Let a worker claim the prechecks whose messages are lost."""
        for run in [one for one in self.runs.values() if one.state == RunState.QUEUED and one.phase not in PLAYBOOKS]:
            if not self.claim(worker, run):
                return

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
        for run in [one for one in worker.held if one.cancel]:
            self.finish(worker, run, RunOutcome.CANCELLED, None)
