"""Actions of the plan: values that are carried out in order, in one transaction.

`unlocks` is whether other rows may be able to move after an action, so that the coordinator plans again.
"""

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
    """Abort every step of the strategy that has not started, and withdraw its run if no worker has claimed it."""

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
    # The phase to dispatch a run of; None: no run.
    run_phase: StepState | None = None
    attempt: int = 1
    # The finished run that the move follows from; no later snapshot has it.
    consumed_run_id: int | None = None
    # The same run, for the events of the move; decides nothing.
    completed_run: RunView | None = field(default=None, compare=False)

    @property
    def unlocks(self) -> bool:
        """Whether other rows may be able to move now."""
        return bool(self.path) and self.run_phase is None


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPreparation:
    """Open the preparation that a step is the first to need, and dispatch its run."""

    owner: PreparationOwner
    # The shared phase that the preparation is a run of.
    phase: StepState
    release: str
    from_version: str
    opened_by_step_id: int
    unlocks = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPreparation:
    """Dispatch another run of a preparation whose worker was lost or drained."""

    preparation_id: int
    phase: StepState
    attempt: int
    consumed_run_id: int
    unlocks = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EndPreparation:
    """Record the end of a preparation; the steps that wait for it move next."""

    preparation_id: int
    state: PreparationState
    details: str
    consumed_run_id: int
    unlocks = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpireRun:
    """Finish a run as lost whose lease is over; a later result of its worker is dropped."""

    run_id: int
    # The lease that was seen to have passed; a lease renewed since then keeps the run.
    lease_until: float
    unlocks = True


Action = AbortWaiting | MoveStrategy | MoveStep | OpenPreparation | RetryPreparation | EndPreparation | ExpireRun
