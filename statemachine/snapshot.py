"""Snapshot: rows as values, the input of the plan.

A snapshot may hold every open step or only those that may have to move; the plan is the same. Times are seconds since
the epoch by the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
    # The run of the current phase; None: not started, or it waits for a preparation.
    run: RunView | None = None

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
    run: RunView | None = None

    @property
    def key(self) -> PreparationKey:
        """The key that a preparation has for itself."""
        return self.owner, self.release, self.from_version


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyView:
    """The active strategy, with aggregates of all its steps."""

    id: int
    # See `StrategyState`.
    state: str
    stop_on_failure: bool
    # Smallest stage with a step that has not ended; None when all have.
    open_stage: int | None
    # Largest stage with a failed step; None when no step failed.
    failed_stage: int | None
    any_aborted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All input of the plan but the time and the settings."""

    strategy: StrategyView | None
    # Open steps of the active strategy and standalone ones, in id order.
    steps: tuple[StepView, ...]
    # Preparations of those steps.
    preparations: tuple[PreparationView, ...]


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
