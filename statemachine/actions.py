"""Actions of the plan: values that are carried out in order, in one transaction.

`unlocks` is whether other rows may be able to move after an action, so that the coordinator plans again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from statemachine.problems import Failure
from statemachine.rollout import HoldKind, HoldScope, StepOutcome
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
    # The sentence about a limit that made the move; empty: there was none.
    reason: str = ""
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
    # The outcome that comes with the last state; None: the step has not ended.
    outcome: StepOutcome | None = None
    # The phase to dispatch a run of; None: no run.
    run_phase: StepState | None = None
    # Attempt of that run, or of the next one when none is dispatched now.
    attempt: int = 1
    # Whether the step keeps its place in flight while it waits for a preparation; without a run it is parked otherwise.
    preparing: bool = False
    # Phases of the path that are passed without a run, the run that proves it, and the digest of their content.
    passed: tuple[StepState, ...] = ()
    proved_by: int | None = None
    passed_content: str | None = None
    # The finished run that the move follows from; no later snapshot has it.
    consumed_run_id: int | None = None
    # The same run, for the events of the move; decides nothing.
    completed_run: RunView | None = field(default=None, compare=False)
    # Why the step ends without success, and in which phase; None: it does not. Decides nothing.
    failure: Failure | None = field(default=None, compare=False)
    failed_phase: str = field(default="", compare=False)

    @property
    def problem(self) -> str | None:
        """The fingerprint of the failure; None: there is none."""
        return self.failure.problem_id(self.failed_phase) if self.failure is not None else None

    @property
    def unlocks(self) -> bool:
        """Whether other rows may be able to move now: the step may leave its place, or need a preparation."""
        return self.run_phase is None


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


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatPreparation:
    """Dispatch the first run of another round of a preparation whose result does not count."""

    preparation_id: int
    phase: StepState
    unlocks = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenHold:
    """Hold the strategy, and withdraw in the same transaction the queued runs of the steps that the hold covers.

    Of steps in `initial` alone when its scope is `starts`. A step of a withdrawn run loses it, as by `WithdrawRuns`.
    An open hold of the same kind, preparation and stage stays the only one.
    """

    strategy_id: int
    kind: HoldKind
    scope: HoldScope
    # What it covers, as in `HoldView`.
    preparation_id: int | None = None
    stage: int | None = None
    # A sentence for people.
    reason: str = ""
    # When it ends by itself, by the database's clock in seconds since the epoch; None: it does not.
    until: float | None = None
    unlocks = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EndHolds:
    """End open holds of the strategy: all of them, those of one kind after one stage, or those of single sites."""

    strategy_id: int
    kind: HoldKind | None = None
    stage: int | None = None
    # The steps whose sites are held alone no longer; empty: see above.
    step_ids: tuple[int, ...] = ()
    unlocks = True


@dataclass(frozen=True, kw_only=True, slots=True)
class PassStage:
    """Write down that the soak time of a stage is over and its gate open, so that neither is asked again."""

    strategy_id: int
    stage: int
    unlocks = True


@dataclass(frozen=True, kw_only=True, slots=True)
class WithdrawRuns:
    """Withdraw those of the runs that no worker has claimed; exactly their steps lose the run.

    Such a step stays in its state, is not `preparing`, and keeps the attempt of that run for its next one.
    """

    run_ids: tuple[int, ...]
    unlocks = True


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestCancel:
    """Mark the strategy, its open steps that have started, their runs and its running preparations, to be stopped.

    A mark that is there already stays as it is. Comes after `AbortWaiting`, so that no step escapes both.
    """

    strategy_id: int
    # The caller, or what stands in the place of one in "cancelled in prestaging-images by ...".
    requested_by: str
    unlocks = True


Action = (
    AbortWaiting
    | MoveStrategy
    | MoveStep
    | OpenPreparation
    | RetryPreparation
    | RepeatPreparation
    | EndPreparation
    | ExpireRun
    | OpenHold
    | EndHolds
    | PassStage
    | WithdrawRuns
    | RequestCancel
)
