"""States and other words of the wire as enums; phases and strategy types as data, one row each.

Rows and answers hold the values of the enums; those of strategies and steps are the words that dcmanager's client
prints (contract 7.1 and 7.2). Everything that depends on a phase or a type is made from its row: the machine of steps,
the plan, actors and queues, playbooks, deadlines, event names, query values, metric labels and documents.
CONTRIBUTING.md lists what a new phase or type needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    """Type of a step, and of the strategy that it belongs to; `STRATEGY_TYPES` has the rows."""

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


OPEN_RUNS: Final = (RunState.QUEUED, RunState.RUNNING)


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
    # It was taken back before a worker claimed it: its step was aborted or held.
    WITHDRAWN = "withdrawn"
    # It was stopped on request.
    CANCELLED = "cancelled"


class PreparationState(StrEnum):
    """State of a preparation, which is shared by the steps of one release and from-version."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    # Its result does not count; the next step that needs it has it made once more.
    VOID = "void"


class PrestageStatus(StrEnum):
    """Status of the last prestage that a subcloud shows; null: it was never prestaged."""

    PRESTAGING = "prestaging"
    FAILED = "failed"
    COMPLETE = "complete"


class FailureClass(StrEnum):
    """Kind of trouble that kept a run or a step from succeeding."""

    # The site does not answer.
    UNREACHABLE = "unreachable"
    # The site does not take the login, or does not have the recorded SSH host key.
    LOGIN = "login"
    # The login user may not become root.
    PRIVILEGE = "privilege"
    # A file system is full, or would be.
    SPACE = "space"
    # Content is damaged.
    CHECKSUM = "checksum"
    # A time limit was reached.
    TIMEOUT = "timeout"
    # A container image could not be had.
    REGISTRY = "registry"
    # The site has alarms that affect management.
    ALARM = "alarm"
    # The versions of site and release do not go together.
    VERSION = "version"
    # The system controller, its content, or what it knows of the site stands in the way.
    CONTROLLER = "controller"
    # The worker was lost.
    LOST = "lost"
    # The preparation that the site waited for failed.
    PREPARE = "prepare"
    # Content of a passed phase is not at the site any more.
    PROOF = "proof"
    # Somebody had it stopped.
    CANCELLED = "cancelled"
    # The playbook failed for another reason.
    PLAYBOOK = "playbook"


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
# States of a strategy that has ended.
ENDED_STRATEGIES: Final = frozenset({StrategyState.COMPLETE, StrategyState.FAILED, StrategyState.ABORTED})
# States of a strategy that is being worked on.
MOVING_STRATEGIES: Final = frozenset({StrategyState.APPLYING, StrategyState.ABORT_REQUESTED, StrategyState.ABORTING})


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One piece of work on a subcloud, done by one run.

    Attributes:
        state: State of a step in this phase; it names the phase on the wire, in events, metrics and queries.

        trigger: Trigger of the machine that brings a step into this phase.

        actor: Dramatiq actor that a run of this phase is sent to; `messages/queues.py` has its queue.

        playbook: File name of the playbook; None: no playbook runs, and the run takes no slot.

        deadline_setting: Setting with the longest duration of a run, in seconds; two phases may share one.

        limit_option: Option of a rollout with the longest duration of a run, in seconds; empty: there is none.

        wording: Beginning of the sentence about a failure; empty where the reason says it all.

        once_per_strategy: Done once on the controller for all subclouds that come from the same version, and for none
            that runs the release already; steps wait for it without a run of their own.
    """

    state: StepState
    trigger: str
    actor: str
    playbook: str | None
    deadline_setting: str
    limit_option: str = ""
    wording: str = ""
    once_per_strategy: bool = False

    @property
    def needs_slot(self) -> bool:
        """Whether a run takes one of the worker's playbook slots."""
        return self.playbook is not None


PRECHECK: Final = Phase(
    state=StepState.PRECHECK,
    trigger="start",
    actor="inspect_site",
    playbook=None,
    deadline_setting="precheck_deadline_s",
    limit_option="precheck-s",
)
PREPARE: Final = Phase(
    state=StepState.PREPARE,
    trigger="prepare",
    # An actor of its own, for it needs a controller that has the feeds.
    actor="prepare_release",
    playbook="prepare_prestage_packages.yml",
    deadline_setting="prepare_deadline_s",
    limit_option="prepare-s",
    wording="Prestaging prepare",
    once_per_strategy=True,
)
PACKAGES: Final = Phase(
    state=StepState.PACKAGES,
    trigger="stage_packages",
    actor="stage_content",
    playbook="prestage_sw_packages.yml",
    deadline_setting="packages_deadline_s",
    limit_option="packages-s",
    wording="Prestaging packages",
)
IMAGES: Final = Phase(
    state=StepState.IMAGES,
    trigger="stage_images",
    actor="stage_content",
    playbook="prestage_images.yml",
    deadline_setting="images_deadline_s",
    limit_option="images-s",
    wording="Prestaging images",
)
UNSTAGING: Final = Phase(
    state=StepState.UNSTAGING,
    trigger="unstage",
    actor="stage_content",
    playbook="unstage_release.yml",
    # Less work than to bring the packages.
    deadline_setting="packages_deadline_s",
    wording="Removing the staged release",
)


class Effect(StrEnum):
    """Change that a step makes to the staged release that its subcloud shows."""

    STAGES = "stages"
    REMOVES = "removes"


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyType:
    """A kind of work on subclouds, as a strategy or as a single step.

    Attributes:
        name: Value of `type` in rows and on the wire; second word of event names.

        phases: Phases in their order. The first one reads the facts of the site.

        effect: Change to the staged release that the subcloud shows.

        is_strategy: Whether strategies of this type can be created; otherwise steps without a strategy only.

        may_skip: Whether the first phase may pass a subcloud over, which then counts as complete.

        wording: What events call a step of this type.
    """

    name: StepType
    phases: tuple[Phase, ...]
    effect: Effect
    is_strategy: bool
    may_skip: bool
    wording: str

    @property
    def states(self) -> tuple[StepState, ...]:
        """States of the phases, in their order."""
        return tuple(phase.state for phase in self.phases)

    @property
    def work_state(self) -> StepState:
        """State in which the site begins to change: the second phase."""
        return self.states[1]

    def phase_in(self, state: str) -> Phase | None:
        """Return the phase of a step in `state`; None for a step that has not started or has ended."""
        return next((phase for phase in self.phases if phase.state == state), None)

    def phases_after(self, phase: Phase) -> tuple[Phase, ...]:
        """Return the phases that follow `phase`.

        Raises:
            ValueError: The type has no such phase.
        """
        return self.phases[self.phases.index(phase) + 1 :]


PRESTAGE: Final = StrategyType(
    name=StepType.PRESTAGE,
    phases=(PRECHECK, PREPARE, PACKAGES, IMAGES),
    effect=Effect.STAGES,
    is_strategy=True,
    may_skip=True,
    wording="A step",
)
UNSTAGE: Final = StrategyType(
    name=StepType.UNSTAGE,
    phases=(PRECHECK, UNSTAGING),
    effect=Effect.REMOVES,
    is_strategy=False,
    may_skip=False,
    wording="The removal of a staged release",
)


def phases_of(types: Iterable[StrategyType]) -> Mapping[str, Phase]:
    """Return the phases of some types by state, each where it comes first."""
    return {phase.state: phase for one in types for phase in one.phases}


# The types by name, in the order of documents.
STRATEGY_TYPES: Final[Mapping[str, StrategyType]] = {one.name: one for one in (PRESTAGE, UNSTAGE)}
# The phases of all types by state, in the order of documents and of a step's output.
PHASES: Final = phases_of(STRATEGY_TYPES.values())
# Phases that take a playbook slot of their worker.
PLAYBOOK_PHASES: Final = tuple(phase.state for phase in PHASES.values() if phase.needs_slot)
# Phases that are done once for many steps.
SHARED_PHASES: Final = tuple(phase.state for phase in PHASES.values() if phase.once_per_strategy)


def types_with(phase: str | None) -> tuple[StepType, ...]:
    """Return the types of steps that have the phase; all types for None."""
    return tuple(one.name for one in STRATEGY_TYPES.values() if phase is None or phase in one.states)


def is_after(state: str, phase: str) -> bool:
    """Return whether `state` is a phase that comes after `phase` in the order of all phases."""
    order = list(PHASES)
    return state in order and order.index(state) > order.index(phase)
