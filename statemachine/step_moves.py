"""Moves of single steps: what follows from the end of a run, from a cancel and from a preparation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from statemachine.actions import MoveStep
from statemachine.admission import HoldCoverage
from statemachine.machines import StepMachine
from statemachine.problems import CANCELLED, Failure, failure, failure_of_run
from statemachine.proofs import SiteRun, WantedContent, proof_of
from statemachine.rollout import StepOutcome
from statemachine.snapshot import PlanLimits, PreparationView, RunView, StepView
from statemachine.states import FailureClass, Phase, RunOutcome, StepState
from statemachine.step_details import (
    cancelled,
    earlier_preparation_failed,
    lost_too_often,
    phase_failed,
    shorten,
    unmanaged,
)

# Outcomes of a run after which what is to be cancelled does not go on.
CUT_SHORT: Final = frozenset({RunOutcome.CANCELLED, RunOutcome.LOST, RunOutcome.DRAINED})


def next_attempt(run: RunView, limits: PlanLimits) -> int | None:
    """Return the number of the next attempt after a lost or drained run; None: the phase is not run again."""
    if run.outcome == RunOutcome.DRAINED:
        return run.attempt
    if run.outcome == RunOutcome.LOST and run.attempt < limits.max_attempts:
        return run.attempt + 1
    return None


@dataclass(frozen=True, kw_only=True)
class StepMoves:
    """Moves of the steps of one plan, by its machine, limits and holds.

    A step whose next phase is held moves into it without a run: it is parked, and its place is free.
    """

    machine: StepMachine
    limits: PlanLimits
    holds: HoldCoverage

    def start(self, step: StepView) -> MoveStep:
        """Dispatch the first run; the step itself moves when a worker claims it."""
        if not step.managed:
            details = unmanaged(step.subcloud_name)
            why = failure(details, failure_class=FailureClass.CONTROLLER, names=[step.subcloud_name])
            return self._fail(step, None, details, why)
        return self.run_phase(step, self.machine.types[step.type].states[0])

    def run_phase(self, step: StepView, phase: StepState) -> MoveStep:
        """Dispatch a run of the phase that the step is in, or the first one of a step that has not started."""
        return replace(_stay(step), run_phase=phase, attempt=step.attempt)

    def free_place(self, step: StepView) -> MoveStep:
        """Take the place of a step that does not wait for a preparation any more, for it is held."""
        return _stay(step)

    def after_run(self, step: StepView, phase: Phase, run: RunView) -> MoveStep:
        """Return the move that follows from a finished run of the step's current phase."""
        kind = self.machine.types[step.type]
        if run.outcome == RunOutcome.SUCCEEDED:
            has_more = bool(kind.phases_after(phase))
            return self.cancel(step, run) if step.cancel_requested and has_more else self.advance(step, phase, run)
        if run.outcome == RunOutcome.SKIPPED and kind.may_skip and phase == kind.phases[0]:
            return self._end(step, run, "skip", StepOutcome.SKIPPED, shorten(run.details))
        if run.outcome == RunOutcome.CANCELLED or (step.cancel_requested and run.outcome in CUT_SHORT):
            return self.cancel(step, run)
        attempt = next_attempt(run, self.limits)
        if attempt is not None:
            is_held = self.holds.stops_phase(step)
            return replace(_stay(step, run), run_phase=None if is_held else phase.state, attempt=attempt)
        # Only the first phase of some types may pass a site over: a later phase that says so has not done its work, nor
        # has a removal whose precheck was judged as a prestage, by a worker that knows no removals.
        reason = lost_too_often(run.attempt) if run.outcome == RunOutcome.LOST else run.details
        details = phase_failed(phase.state, step.subcloud_name, reason, self.machine.phases)
        return self._fail(step, run, details, _why(step, run))

    def advance(self, step: StepView, phase: Phase, run: RunView | None, content: str | None = None) -> MoveStep:
        """Move a step to the next phase that has work for it; after the last one it is complete.

        Args:
            step: The step.

            phase: The phase that it has done.

            run: The run that did it; None: a preparation, or it was parked.

            content: Digest of the content that the controller has, from the preparation; None: not known.
        """
        is_held = self.holds.stops_phase(step)
        path: list[StepState] = []
        passed: list[StepState] = []
        proof: SiteRun | None = None
        state: str = step.state
        for following in self.machine.types[step.type].phases_after(phase):
            state = self.machine.fire(state, following.trigger)
            path.append(state)
            move = replace(
                _stay(step, run),
                path=tuple(path),
                passed=tuple(passed),
                proved_by=None if proof is None else proof.id,
                passed_content=None if proof is None else proof.content,
            )
            if not following.once_per_strategy:
                passing = self._proof(step, following, content)
                if passing is not None:
                    proof = passing
                    passed.append(state)
                    continue
                return move if is_held else replace(move, run_phase=state)
            if step.resumes or step.from_version != step.release:
                return replace(move, preparing=not is_held)
            # A reinstall takes everything from the site itself: nothing to prepare (contract 8.9).
        done = self.machine.fire(state, "complete")
        return replace(_stay(step, run), path=(*path, done), outcome=StepOutcome.COMPLETE)

    def _proof(self, step: StepView, phase: Phase, content: str | None) -> SiteRun | None:
        """Return the run that proves that a step may pass a phase; the last one is never passed."""
        if step.record is None or not self.machine.types[step.type].phases_after(phase):
            return None
        wanted = WantedContent(release=step.release, from_version=step.from_version, digest=content)
        return proof_of(phase.state, wanted, step.record)

    def cancel(self, step: StepView, run: RunView | None) -> MoveStep:
        """End a step that is to be cancelled."""
        details = cancelled(step.state, step.cancel_requested_by)
        move = self._end(step, run, "cancel", StepOutcome.CANCELLED, details)
        return replace(move, failure=CANCELLED, failed_phase=self._phase_of(step))

    def fail_without_preparation(self, step: StepView, preparation: PreparationView) -> MoveStep:
        """End a step whose preparation has failed."""
        details = earlier_preparation_failed()
        if preparation.opened_by_step_id == step.id:
            details = phase_failed(step.state, step.subcloud_name, preparation.details, self.machine.phases)
        told = preparation.run.failure if preparation.run is not None else None
        told = told or failure(preparation.details)
        return self._fail(step, None, details, replace(told, failure_class=FailureClass.PREPARE))

    def _fail(self, step: StepView, run: RunView | None, details: str, why: Failure) -> MoveStep:
        move = self._end(step, run, "fail", StepOutcome.FAILED, details)
        return replace(move, failure=why, failed_phase=self._phase_of(step))

    def _phase_of(self, step: StepView) -> str:
        """Return the phase that a step is in; of one that has not started the first."""
        kind = self.machine.types[step.type]
        return step.state if kind.phase_in(step.state) is not None else kind.states[0]

    def _end(self, step: StepView, run: RunView | None, trigger: str, outcome: StepOutcome, details: str) -> MoveStep:
        path = (self.machine.fire(step.state, trigger),)
        return replace(_stay(step, run), path=path, outcome=outcome, details=details)


def _why(step: StepView, run: RunView) -> Failure:
    """Return why the phase of a run failed; a worker of before this one says it in words alone."""
    names = [step.subcloud_name]
    return run.failure or failure_of_run(run.outcome, run.details, names=names) or failure(run.details, names=names)


def _stay(step: StepView, run: RunView | None = None) -> MoveStep:
    """Return a move that leaves the step where it is; `run` is the finished run that the move comes from."""
    return MoveStep(
        step_id=step.id,
        version=step.version,
        consumed_run_id=run.id if run else None,
        completed_run=run,
    )
