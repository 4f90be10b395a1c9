"""Words of a strategy's rollout: mode, holds, failure budget, time limit, and how far its steps are.

None of them is a state: the words of the wire in `state` stay those of the contract.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class RolloutMode(StrEnum):
    """Order in which the steps of a strategy start."""

    # Stage by stage: the next one starts when every step of the one before has ended.
    STAGES = "stages"
    # A sliding window: a step starts as soon as another one makes room for it.
    WINDOW = "window"


class HoldKind(StrEnum):
    """Reason of a hold."""

    # A person paused the strategy, or held one site.
    OPERATOR = "operator"
    # More steps failed than the failure budget allows.
    BUDGET = "budget"
    # A preparation failed, and the strategy waits instead of failing the steps that need it.
    PREPARE = "prepare"
    # The stage before has ended, and its soak time goes on.
    SOAK = "soak"
    # The stage before has ended, and somebody has to approve the next one.
    GATE = "gate"


# Holds between two stages; they end by time and by approval, not by a resume.
BETWEEN_STAGES: Final = (HoldKind.SOAK, HoldKind.GATE)


class HoldScope(StrEnum):
    """Work that a hold stops."""

    # No step leaves `initial`.
    STARTS = "starts"
    # No next phase begins either.
    PHASES = "phases"


class OnBudget(StrEnum):
    """Consequence of an exceeded failure budget."""

    PAUSE = "pause"
    STOP = "stop"


class OnPrepareFailure(StrEnum):
    """Consequence of a failed preparation."""

    # The steps that need it fail (contract 8.6).
    FAIL = "fail"
    PAUSE = "pause"


class OnTimeLimit(StrEnum):
    """Consequence of a reached time limit of a strategy."""

    # Running steps go on to their end.
    ABORT = "abort"
    CANCEL = "cancel"


class StepOutcome(StrEnum):
    """Outcome of a step that has ended; its state says less."""

    COMPLETE = "complete"
    # Complete without work: the precheck passed the site over.
    SKIPPED = "skipped"
    FAILED = "failed"
    # Aborted before it started.
    ABORTED = "aborted"
    # Stopped on request while it was worked on, or before; its state is `aborted`.
    CANCELLED = "cancelled"


class StepProgress(StrEnum):
    """Progress of an open step; that of an ended one is its outcome."""

    # In `initial`, without a run.
    NOT_STARTED = "not-started"
    # Its run waits for a worker.
    QUEUED = "queued"
    # A worker has claimed its run.
    RUNNING = "running"
    # It waits for a shared preparation and keeps its place.
    PREPARING = "preparing"
    # In a working phase, without a run, because a hold covers it or it waits for a place.
    PARKED = "parked"


@dataclass(frozen=True, kw_only=True)
class StageProgress:
    """Progress of the first stage of a strategy that is open.

    Attributes:
        number: Number of the stage, from 1.

        last: Number of the last stage of the strategy.

        total: How many steps the stage has.

        ended: How many of them have ended.
    """

    number: int
    last: int
    total: int
    ended: int


@dataclass(kw_only=True)
class StrategyProgress:
    """Progress of the steps of one strategy.

    Attributes:
        numbers: How many steps there are under each `StepProgress`, or outcome of ended ones; words of none are left
            out.

        first_start: When the first of them began; None: none has.

        last_change: When one of them changed last; None: there are no steps.

        stage: The first stage that is open; None: all steps have ended.
    """

    numbers: Counter[str] = field(default_factory=Counter)
    first_start: datetime | None = None
    last_change: datetime | None = None
    stage: StageProgress | None = None
