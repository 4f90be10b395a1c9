"""States and other words of the wire as enums.

Rows and answers hold the values; those of strategies and steps are the words that dcmanager's client prints (contract
7.1 and 7.2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class StrategyState(StrEnum):
    """State of a strategy."""

    # Created; nothing runs before it is applied.
    INITIAL = "initial"
    # Steps are started stage by stage.
    APPLYING = "applying"
    # An abort was requested; steps that have not started are about to be aborted.
    ABORT_REQUESTED = "abort requested"
    # Steps that had not started are aborted; running ones finish all their phases.
    ABORTING = "aborting"
    # Every step ended and none failed or was aborted.
    COMPLETE = "complete"
    # Every started step ended and at least one failed.
    FAILED = "failed"
    # Every step ended, none failed, at least one was aborted.
    ABORTED = "aborted"
    # Its deletion was requested; only the answer to that request has this state.
    DELETING = "deleting"


class StepState(StrEnum):
    """State of a step, one subcloud of a strategy; those between `initial` and `complete` are the phases of work."""

    # Not started.
    INITIAL = "initial"
    # The facts of the site are read and checked.
    PRECHECK = "prestage-precheck"
    # The packages that the sites share are prepared on the controller, once.
    PREPARE = "prestage-prepare"
    # The packages are brought to the site.
    PACKAGES = "prestaging-packages"
    # The container images are brought to the site.
    IMAGES = "prestaging-images"
    # A staged release is removed from the site.
    UNSTAGING = "unstaging"
    # All phases succeeded, or the precheck skipped the site; then the details have the reason.
    COMPLETE = "complete"
    # A phase failed; the details have the reason.
    FAILED = "failed"
    # The strategy was aborted before this step started.
    ABORTED = "aborted"


class StepType(StrEnum):
    """Type of a step, and of the strategy that it belongs to; the rows are in `phases.py`."""

    # Stage a release.
    PRESTAGE = "prestage"
    # Remove a staged release.
    UNSTAGE = "unstage"


class RunState(StrEnum):
    """State of a run, which is one execution of one phase."""

    # Dispatched; no worker has claimed it yet.
    QUEUED = "queued"
    # A worker holds it under a lease.
    RUNNING = "running"
    # It has an outcome.
    FINISHED = "finished"


class RunOutcome(StrEnum):
    """Outcome of a finished run."""

    SUCCEEDED = "succeeded"
    # The phase must not happen on this site; the reason is in the details.
    SKIPPED = "skipped"
    FAILED = "failed"
    # Its worker died or was fenced; the phase may be run again, and this attempt counts.
    LOST = "lost"
    # Its worker was drained; the phase runs again elsewhere or later, and this attempt does not count.
    DRAINED = "drained"
    # Its step was aborted before a worker claimed it.
    WITHDRAWN = "withdrawn"


class PreparationState(StrEnum):
    """State of a preparation, which is shared by the steps of one release and from-version."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


class PrestageStatus(StrEnum):
    """Status of the last prestage that a subcloud shows; null: it was never prestaged."""

    PRESTAGING = "prestaging"
    FAILED = "failed"
    COMPLETE = "complete"


class ApplyType(StrEnum):
    """Order of the subclouds of a group in a strategy: a stage each, or many to a stage."""

    PARALLEL = "parallel"
    SERIAL = "serial"


class ManagementState(StrEnum):
    """Management state of a subcloud; only managed ones are worked on."""

    MANAGED = "managed"
    UNMANAGED = "unmanaged"


class Availability(StrEnum):
    """Availability of a subcloud, as the probe found it."""

    ONLINE = "online"
    OFFLINE = "offline"


TERMINAL_STEPS: Final = frozenset({StepState.COMPLETE, StepState.FAILED, StepState.ABORTED})
# States of a strategy that is being worked on.
MOVING_STRATEGIES: Final = frozenset({StrategyState.APPLYING, StrategyState.ABORT_REQUESTED, StrategyState.ABORTING})
