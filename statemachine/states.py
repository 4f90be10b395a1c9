"""The words of the wire for states, as enums.

Every other package uses these names; the values are what dcmanager's client prints (contract 7.1 and 7.2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class StrategyState(StrEnum):
    """Where a strategy stands."""

    # Created; nothing runs until somebody applies it.
    INITIAL = "initial"
    # Steps are started stage by stage.
    APPLYING = "applying"
    # Somebody asked to stop; waiting steps are about to be aborted.
    ABORT_REQUESTED = "abort requested"
    # Waiting steps are aborted; running ones finish all their phases.
    ABORTING = "aborting"
    # Every step ended and none failed or was aborted.
    COMPLETE = "complete"
    # Every started step ended and at least one failed.
    FAILED = "failed"
    # Every step ended, none failed, at least one was aborted.
    ABORTED = "aborted"
    # Somebody asked to remove it; it is about to become history.
    DELETING = "deleting"


class StepState(StrEnum):
    """Where one subcloud of a strategy stands; those between `initial` and `complete` are the phases of work."""

    # Waits for its stage.
    INITIAL = "initial"
    # The facts of the site are read and judged.
    PRECHECK = "prestage-precheck"
    # The packages that the sites share are prepared on the controller, once.
    PREPARE = "prestage-prepare"
    # The packages are brought to the site.
    PACKAGES = "prestaging-packages"
    # The container images are brought to the site.
    IMAGES = "prestaging-images"
    # A staged release is removed from the site.
    UNSTAGING = "unstaging"
    # All phases ended well, or the site was rightly skipped.
    COMPLETE = "complete"
    # A phase failed; the details say why.
    FAILED = "failed"
    # The strategy was aborted before this step started.
    ABORTED = "aborted"


class StepType(StrEnum):
    """What a step does to its subcloud; its events are named by it."""

    # Stage a release.
    PRESTAGE = "prestage"
    # Remove a staged release; without a strategy only.
    UNSTAGE = "unstage"


class RunState(StrEnum):
    """Where one execution of one phase stands."""

    # Handed out; no worker has taken it yet.
    QUEUED = "queued"
    # A worker holds it under a lease.
    RUNNING = "running"
    # It has an outcome.
    FINISHED = "finished"


class RunOutcome(StrEnum):
    """How a run ended, as the plan reads it."""

    SUCCEEDED = "succeeded"
    # The phase must not happen on this site; the reason is in the details.
    SKIPPED = "skipped"
    FAILED = "failed"
    # Its worker died or was fenced; the phase may be tried again, and this attempt counts.
    LOST = "lost"
    # Its worker was stopped in good order; the phase goes on elsewhere or later, and this attempt does not count.
    DRAINED = "drained"
    # Its step was aborted before any worker took it.
    WITHDRAWN = "withdrawn"


class PreparationState(StrEnum):
    """Where the once-only preparation of one (release, from-version) stands."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


class PrestageStatus(StrEnum):
    """What a subcloud shows of its last prestage; null means never prestaged."""

    PRESTAGING = "prestaging"
    FAILED = "failed"
    COMPLETE = "complete"


class ApplyType(StrEnum):
    """How the subclouds of a group go through a strategy."""

    PARALLEL = "parallel"
    SERIAL = "serial"


class ManagementState(StrEnum):
    """Whether the controller may work on the subcloud."""

    MANAGED = "managed"
    UNMANAGED = "unmanaged"


class Availability(StrEnum):
    """Whether the subcloud answers."""

    ONLINE = "online"
    OFFLINE = "offline"


TERMINAL_STEPS: Final = frozenset({StepState.COMPLETE, StepState.FAILED, StepState.ABORTED})
# A strategy in one of these is being worked on.
MOVING_STRATEGIES: Final = frozenset({StrategyState.APPLYING, StrategyState.ABORT_REQUESTED, StrategyState.ABORTING})
