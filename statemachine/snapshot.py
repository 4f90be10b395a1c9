"""Snapshot: rows as values, the input of the plan.

A snapshot may hold every open step or only those that may have to move; the plan is the same. Times are seconds since
the epoch by the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from statemachine.problems import Failure
from statemachine.proofs import SiteRecord
from statemachine.rollout import OnBudget, OnPrepareFailure, OnTimeLimit, RolloutMode
from statemachine.states import StepType


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """A run: one execution of one phase."""

    id: int
    # A step state, see `StepState`.
    phase: str
    # 1 for the first try.
    attempt: int
    # See `RunState`.
    state: str
    # See `RunOutcome`; None until finished.
    outcome: str | None = None
    details: str = ""
    # End of its worker's lease; None unless running.
    lease_until: float | None = None
    # Whether it is marked to be stopped.
    cancel_requested: bool = False
    # Why it did not succeed, as its worker said; None: it did, or its worker said nothing.
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    """One subcloud of a strategy, or a standalone prestage where `strategy_id` is None."""

    id: int
    strategy_id: int | None
    stage: int
    # See `StepState`.
    state: str
    version: int
    subcloud_name: str
    managed: bool
    release: str
    # See `StepType`.
    type: str = StepType.PRESTAGE
    # Version that the site runs; None before the precheck has read it.
    from_version: str | None = None
    # The run of the current phase; None: not started, parked, or it waits for a preparation.
    run: RunView | None = None
    # Whether it waits for a preparation and keeps its place among the steps in flight meanwhile.
    preparing: bool = False
    # Place in the order of a sliding window, within its stage; a negative one comes before all others of any stage.
    position: int = 0
    # Attempt of the next run of its current phase, where `run` is None; a withdrawn run was none.
    attempt: int = 1
    cancel_requested: bool = False
    # Whether it passes phases that earlier runs have proved. Then it waits for a preparation in any case, which says
    # what content the controller has.
    resumes: bool = False
    # The record of its site, of a step that resumes and waits for a preparation which does not run; None: of others.
    record: SiteRecord | None = None
    # The caller who asked for the cancel, for the details; None where none did.
    cancel_requested_by: str | None = None

    @property
    def owner(self) -> PreparationOwner:
        """The owner of preparations: the strategy, or a step without one itself."""
        return (self.strategy_id, None) if self.strategy_id is not None else (None, self.id)


# Duration of a lease that is not renewed, in seconds of the database's clock. As the coordinator checks a passed lease
# twice, a dead machine is noticed within a minute.
LEASE_S: Final = 40.0

# (strategy id, None) or (None, step id).
PreparationOwner = tuple[int | None, int | None]
# Owner, release, from-version.
PreparationKey = tuple[PreparationOwner, str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationView:
    """A preparation: the run of a shared phase for one owner, release and from-version."""

    id: int
    owner: PreparationOwner
    release: str
    from_version: str
    # The step that was the first to need it.
    opened_by_step_id: int
    # See `PreparationState`.
    state: str
    details: str = ""
    # Digest of the content that the controller has; None: not known.
    content: str | None = None
    run: RunView | None = None

    @property
    def key(self) -> PreparationKey:
        """The key that a preparation has for itself."""
        return self.owner, self.release, self.from_version


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedStage:
    """A stage of a rollout that has ended, and that the strategy has not passed yet."""

    stage: int
    name: str
    # Seconds that later stages wait after its end; 0: none.
    soak_s: float = 0.0
    # Whether it has a gate that nobody has approved yet.
    is_gated: bool = False
    # Whether a step of it is complete and was not skipped; without one the stage has shown nothing.
    any_succeeded: bool = True

    @property
    def needs_approval(self) -> bool:
        """Whether later stages wait for an approval."""
        return self.is_gated or not self.any_succeeded


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyView:
    """The active strategy, with aggregates of all its steps."""

    id: int
    # See `StrategyState`.
    state: str
    stop_on_failure: bool
    # Smallest stage with a step that has not ended; None when all have, in both modes.
    open_stage: int | None
    # Largest stage with a failed step; None when no step failed.
    failed_stage: int | None
    # Whether a step was aborted or cancelled.
    any_aborted: bool
    # Whether a step is in flight or parked: open, and in a working phase or with a run. Without it a halted strategy
    # is over.
    any_begun: bool = False
    # See `RolloutMode`; what follows up to `succeeded` counts in a sliding window only.
    mode: str = RolloutMode.STAGES
    # Most steps in flight over the whole strategy; None: each stage has its own width in `stage_widths`.
    width: int | None = None
    stage_widths: Mapping[int, int] = field(default_factory=dict)
    # Whether the steps of a window start only when each stage before their own has ended.
    stage_by_stage: bool = False
    # Largest stage; 0: not asked, for no stage has a failure budget of its own.
    last_stage: int = 0
    # Failure budgets of single stages, as counts of their steps.
    stage_budgets: Mapping[int, int] = field(default_factory=dict)
    # Failed steps of the stages that have a budget; a count above the budget + 1 says no more.
    failed_by_stage: Mapping[int, int] = field(default_factory=dict)
    # Of a window that goes stage by stage, the first stage before the open one that is not passed; None: all are.
    ended_stage: EndedStage | None = None
    # Steps in flight: with a run, or preparing; not parked.
    in_flight: int = 0
    in_flight_by_stage: Mapping[int, int] = field(default_factory=dict)
    # Most steps in flight before the first has succeeded; each that succeeded adds one. None: no slow start.
    ramp_start: int | None = None
    # Steps that are complete and were not skipped; a count above the width says no more.
    succeeded: int = 0
    # Failed steps; a count above `max_failures` + 1 says no more.
    failed: int = 0
    # The failure budget as a count of steps; None: there is none.
    max_failures: int | None = None
    # See `OnBudget`.
    on_budget: str = OnBudget.PAUSE
    # See `OnPrepareFailure`.
    on_prepare_failure: str = OnPrepareFailure.FAIL
    # Longest time from apply to the last end, in seconds, without time under a hold that covers everything.
    time_limit_s: float | None = None
    # See `OnTimeLimit`.
    on_time_limit: str = OnTimeLimit.ABORT
    applied_at_epoch: float | None = None
    # Seconds since apply under ended holds that covered everything; where they overlapped, once.
    held_s: float = 0.0
    # Begin of the time under open holds that cover everything; None: there is none.
    held_since_epoch: float | None = None
    # Whether its running steps are to be stopped too; the steps themselves are marked by `RequestCancel`.
    cancel_requested: bool = False
    # The caller who asked for it; empty: none did.
    cancel_requested_by: str = ""

    @property
    def has_open_stage_only(self) -> bool:
        """Whether no step starts but those of the open stage."""
        return self.mode == RolloutMode.STAGES or self.stage_by_stage


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldView:
    """An open hold of the active strategy.

    It covers the steps that it names: one by id, those that wait for one preparation, those of the stages after one,
    and without any of them all.
    """

    id: int
    # See `HoldKind`.
    kind: str
    # See `HoldScope`.
    scope: str
    step_id: int | None = None
    preparation_id: int | None = None
    # The last stage that it does not cover.
    stage: int | None = None
    # When it ends by itself, in seconds since the epoch; None: it does not.
    until_epoch: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All input of the plan but the time and the settings.

    Open steps that cannot move now may be left out. Needed are those of the moving strategy and standalone ones

    - with a finished run that is not consumed, or a running one whose lease is over;
    - with a queued run that is to be withdrawn: of a step that is marked to be cancelled or that an open hold covers,
      and of one in `initial` when the failure budget is exceeded and stops the strategy;
    - without a run in a working phase, unless the preparation that it waits for runs. Those that a hold covers may be
      left out when they are not `preparing` and not marked;
    - without a run and marked to be cancelled;
    - not started and without a run, if `admission.admits` the strategy, but for those that are held by themselves: in
      mode `stages` those of the open stage; in a window all with a negative position, and the others by stage,
      position and id, until one finds no place in its stage (`admission.Places`), and none if all places are taken. Of
      a window that goes stage by stage only those of the open stage.
    """

    strategy: StrategyView | None
    # Open steps of the active strategy and standalone ones, in id order.
    steps: tuple[StepView, ...]
    # Preparations of those steps, and all with a run that is not consumed and has ended or lost its lease. A cancel
    # ends steps while their preparation is being stopped, so some belong to a strategy that has ended.
    preparations: tuple[PreparationView, ...]
    # Open holds of the active strategy.
    holds: tuple[HoldView, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanLimits:
    """Settings of the plan."""

    # Most attempts of a phase whose workers are lost.
    max_attempts: int = 3
    # Duration of a lease, in seconds.
    lease_s: float = LEASE_S

    def latest_lease(self, now: float) -> float:
        """Return the latest end that a lease can have; a later one was written before the clock was set back."""
        return now + 2 * self.lease_s

    def is_lease_over(self, lease_until: float, now: float) -> bool:
        """Return whether a lease has ended, or cannot be right."""
        return not now <= lease_until <= self.latest_lease(now)
