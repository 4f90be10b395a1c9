"""Actions of the plan: values to be carried out in order, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from statemachine.snapshot import PreparationOwner, RunView
from statemachine.states import PreparationState, StepState, StrategyState


@dataclass(frozen=True, kw_only=True, slots=True)
class StepChange:
    """A transition of steps that are in `from_state`; those in another state stay."""

    from_state: StepState
    to_state: StepState


@dataclass(frozen=True, kw_only=True, slots=True)
class AbortWaiting:
    """Abort every step of the strategy that has not started, and withdraw runs that no worker took."""

    strategy_id: int
    change: StepChange
    unlocks = True


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveStrategy:
    """Bring the strategy from one state to another."""

    strategy_id: int
    from_state: str
    to_state: StrategyState
    unlocks = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveStep:
    """Bring a step through states, or keep it where it is and run its phase (again)."""

    step_id: int
    # The row's version that the decision was made on.
    version: int
    # States passed through, the last one is where the step ends up; empty when it stays.
    path: tuple[StepState, ...] = ()
    details: str = ""
    # The phase to hand out a run for; None when nothing is to run now.
    run_phase: StepState | None = None
    attempt: int = 1
    # The finished run this decision comes from; it is never looked at again.
    consumed_run_id: int | None = None
    # The same run, for the events of the move; decides nothing.
    completed_run: RunView | None = field(default=None, compare=False)

    @property
    def unlocks(self) -> bool:
        """Tell whether other rows may now be able to move."""
        return bool(self.path) and self.run_phase is None


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPreparation:
    """Start the preparation that a step needs first."""

    owner: PreparationOwner
    # The phase that is prepared in; a preparation is one run of it.
    phase: StepState
    release: str
    from_version: str
    opened_by_step_id: int
    unlocks = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPreparation:
    """Run a preparation again whose worker was lost."""

    preparation_id: int
    phase: StepState
    attempt: int
    consumed_run_id: int
    unlocks = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EndPreparation:
    """Record how a preparation ended; the steps that wait for it move next."""

    preparation_id: int
    state: PreparationState
    details: str
    consumed_run_id: int
    unlocks = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpireRun:
    """Take a run from a worker that let its lease pass; whatever it still reports is fenced off."""

    run_id: int
    # The lease that was seen to have passed; a lease renewed since then keeps the run.
    lease_until: float
    unlocks = True


Action = AbortWaiting | MoveStrategy | MoveStep | OpenPreparation | RetryPreparation | EndPreparation | ExpireRun
