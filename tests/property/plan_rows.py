"""Rows of the model in memory, with the views of the plan.

Every row keeps the view that the plan gets, made anew only after a change: a schedule costs microseconds that way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from statemachine.proofs import SiteRecord, SiteRun
from statemachine.rollout import OnBudget, OnPrepareFailure, OnTimeLimit, RolloutMode
from statemachine.snapshot import EndedStage, HoldView, PreparationOwner, PreparationView, RunView, StepView
from statemachine.states import RunState, StepState, StrategyState

RELEASE = "22.12"
# The digest of all content.
CONTENT = "content"


class Run:
    """One execution of one phase, for a step or for a preparation."""

    __slots__ = (
        "attempt",
        "cancel",
        "consumed",
        "id",
        "lease_until",
        "outcome",
        "owner",
        "phase",
        "state",
        "target",
        "view",
        "was_claimed",
    )

    def __init__(self, run_id: int, target: Step | Preparation, phase: str, attempt: int) -> None:
        self.id = run_id
        self.target = target
        self.phase = phase
        self.attempt = attempt
        self.state: str = RunState.QUEUED
        self.outcome: str | None = None
        self.lease_until: float | None = None
        self.owner = 0
        self.consumed = False
        # Whether it is marked to be stopped.
        self.cancel = False
        # Whether a worker has claimed it, and may have handed it back.
        self.was_claimed = False
        self.view: RunView | None = None

    def changed(self) -> None:
        """Drop the cached view."""
        self.view = None
        self.target.view = None

    def look(self) -> RunView:
        """Return the view of the plan."""
        if self.view is None:
            self.view = RunView(
                id=self.id,
                phase=self.phase,
                attempt=self.attempt,
                state=self.state,
                outcome=self.outcome,
                details="it broke",
                lease_until=self.lease_until,
                cancel_requested=self.cancel,
            )
        return self.view


class Step:
    """One subcloud of a strategy, or a standalone prestage."""

    __slots__ = (
        "attempt",
        "cancel_by",
        "details",
        "from_version",
        "history",
        "id",
        "open",
        "outcome",
        "position",
        "preparing",
        "resumes",
        "run",
        "stage",
        "state",
        "strategy",
        "subcloud",
        "version",
        "view",
    )

    def __init__(self, step_id: int, strategy: Strategy | None, subcloud: Subcloud, stage: int) -> None:
        self.id = step_id
        self.strategy = strategy
        self.subcloud = subcloud
        self.stage = stage
        self.state: str = StepState.INITIAL
        # Whether it has not ended; kept, for asking is most of what a schedule does.
        self.open = True
        self.version = 1
        self.from_version: str | None = None
        self.details = ""
        self.run: Run | None = None
        self.history: list[Run] = []
        self.position = 0
        self.attempt = 1
        self.preparing = False
        self.outcome: str | None = None
        # Whether it passes the packages where an earlier run has proved them.
        self.resumes = False
        # The caller who asked for a cancel.
        self.cancel_by: str | None = None
        self.view: StepView | None = None

    @property
    def in_flight(self) -> bool:
        """Return whether the step takes a place."""
        return self.open and (self.run is not None or self.preparing)

    @property
    def not_started(self) -> bool:
        """Return whether the step waits for its start."""
        return self.open and self.state == StepState.INITIAL and self.run is None

    @property
    def parked(self) -> bool:
        """Return whether the step works without a place."""
        return self.open and self.state != StepState.INITIAL and not self.in_flight

    @property
    def begun(self) -> bool:
        """Return whether the step is being worked on, or has a queued run."""
        return self.open and (self.state != StepState.INITIAL or self.run is not None)

    def look(self) -> StepView:
        """Return the view of the plan."""
        if self.view is None:
            self.view = StepView(
                id=self.id,
                strategy_id=self.strategy.id if self.strategy else None,
                stage=self.stage,
                state=self.state,
                version=self.version,
                subcloud_name=self.subcloud.name,
                managed=self.subcloud.managed,
                release=RELEASE,
                from_version=self.from_version,
                run=self.run.look() if self.run else None,
                preparing=self.preparing,
                position=self.position,
                attempt=self.attempt,
                cancel_requested=self.cancel_by is not None,
                cancel_requested_by=self.cancel_by,
                resumes=self.resumes,
                record=self.record(),
            )
        return self.view

    def record(self) -> SiteRecord | None:
        """Return the record of the site, where the plan needs it."""
        if not self.resumes or self.run is not None or self.state != StepState.PREPARE:
            return None
        return SiteRecord(runs=tuple(self.subcloud.runs), for_sw_deploy=False)


class Preparation:
    """A preparation of one owner and from-version."""

    __slots__ = ("details", "from_version", "history", "id", "opened_by", "owner", "run", "state", "view")

    def __init__(self, preparation_id: int, owner: PreparationOwner, from_version: str, opened_by: int) -> None:
        self.id = preparation_id
        self.owner = owner
        self.from_version = from_version
        self.opened_by = opened_by
        self.state = "running"
        self.details = ""
        self.run: Run | None = None
        self.history: list[Run] = []
        self.view: PreparationView | None = None

    def look(self) -> PreparationView:
        """Return the view of the plan."""
        if self.view is None:
            self.view = PreparationView(
                id=self.id,
                owner=self.owner,
                release=RELEASE,
                from_version=self.from_version,
                opened_by_step_id=self.opened_by,
                state=self.state,
                details=self.details,
                content=CONTENT if self.state == "complete" else None,
                run=self.run.look() if self.run else None,
            )
        return self.view


@dataclass(slots=True, eq=False)
class Subcloud:
    """One site."""

    id: int
    group: int
    managed: bool = True
    # Runs of its steps that were begun and have ended, in the order of their ids.
    runs: list[SiteRun] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the name of the site."""
        return f"subcloud{self.id}"


@dataclass(slots=True, kw_only=True)
class Rollout:
    """Options of a strategy; those of a window count in mode `window` alone."""

    mode: str = RolloutMode.STAGES
    # Whether a window has stages of its own; failures that each of them bears, by its number.
    stage_by_stage: bool = False
    stage_budgets: dict[int, int] = field(default_factory=dict)
    # Soak times by stage, in seconds, and the stages with a gate.
    soaks_s: dict[int, float] = field(default_factory=dict)
    gates: set[int] = field(default_factory=set)
    ramp_start: int | None = None
    max_failures: int | None = None
    on_budget: str = OnBudget.PAUSE
    on_prepare_failure: str = OnPrepareFailure.FAIL
    time_limit_s: float | None = None
    on_time_limit: str = OnTimeLimit.ABORT


@dataclass(slots=True, eq=False, kw_only=True)
class Hold:
    """An open hold."""

    id: int
    kind: str
    scope: str
    since: float
    step_id: int | None = None
    preparation: Preparation | None = None
    stage: int | None = None
    until: float | None = None

    @property
    def covers_all(self) -> bool:
        """Return whether all that could move is held: before the stages after an ended one, everything is over."""
        return self.kind in ("soak", "gate") or self.step_id is self.preparation is self.stage

    def covers(self, step: Step) -> bool:
        """Return whether the start or the next phase of a step has to wait for the end of this hold."""
        if self.step_id not in (None, step.id) or (self.stage is not None and step.stage <= self.stage):
            return False
        if self.preparation is not None:
            return step.state == StepState.PREPARE and step.from_version == self.preparation.from_version
        return step.state == StepState.INITIAL or self.scope == "phases"

    def look(self) -> HoldView:
        """Return the view of the plan."""
        return HoldView(
            id=self.id,
            kind=self.kind,
            scope=self.scope,
            step_id=self.step_id,
            preparation_id=self.preparation.id if self.preparation else None,
            stage=self.stage,
            until_epoch=self.until,
        )


@dataclass(slots=True, eq=False)
class Strategy:
    """One orchestration."""

    id: int
    stop_on_failure: bool
    rollout: Rollout = field(default_factory=Rollout)
    state: str = StrategyState.INITIAL
    steps: list[Step] = field(default_factory=list)
    # Number of steps of each stage.
    sizes: dict[int, int] = field(default_factory=dict)
    # Width of a window over all stages, or that of each stage.
    width: int | None = None
    stage_widths: dict[int, int] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    # Stages that are passed, and those that somebody approved before their end.
    passed: set[int] = field(default_factory=set)
    approved: set[int] = field(default_factory=set)
    # Whether there was ever a hold.
    was_held: bool = False
    # Begin and end of the ended holds that covered everything.
    held: list[tuple[float, float | None]] = field(default_factory=list)
    applied_at: float | None = None
    cancel_by: str | None = None
    # Somebody got the answer that it stops.
    abort_answered: bool = False

    @property
    def is_window(self) -> bool:
        """Return whether it is a sliding window."""
        return self.rollout.mode == RolloutMode.WINDOW

    @property
    def failed(self) -> int:
        """Return the number of failed steps."""
        return sum(step.state == StepState.FAILED for step in self.steps)

    @property
    def is_over_budget(self) -> bool:
        """Return whether more steps failed than the failure budget allows."""
        return self.rollout.max_failures is not None and self.failed > self.rollout.max_failures

    @property
    def stages_over_budget(self) -> list[int]:
        """Return the stages of which more steps failed than their own budget allows."""
        return [
            stage
            for stage, budget in self.rollout.stage_budgets.items()
            if sum(step.stage == stage and step.state == StepState.FAILED for step in self.steps) > budget
        ]

    @property
    def is_halted(self) -> bool:
        """Return whether a failure stops it for good."""
        is_over = self.is_over_budget or bool(self.stages_over_budget)
        by_budget = is_over and self.rollout.on_budget == OnBudget.STOP
        return by_budget or (self.stop_on_failure and self.failed > 0)

    @property
    def ended_stage(self) -> EndedStage | None:
        """Return the first stage before the open one that is not passed."""
        open_stage = min((step.stage for step in self.steps if step.open), default=0)
        for stage in range(1, open_stage if self.rollout.stage_by_stage else 0):
            if stage not in self.passed and any(step.stage == stage for step in self.steps):
                return EndedStage(
                    stage=stage,
                    name=f"stage-{stage}",
                    soak_s=self.rollout.soaks_s.get(stage, 0.0),
                    is_gated=stage in self.rollout.gates and stage not in self.approved,
                    any_succeeded=any(one.stage == stage and one.outcome == "complete" for one in self.steps),
                )
        return None

    def stops(self, step: Step) -> bool:
        """Return whether a hold covers a step."""
        return any(hold.covers(step) for hold in self.holds)

    def holds_alone(self, step: Step) -> bool:
        """Return whether a step is held by itself."""
        return any(hold.step_id == step.id for hold in self.holds)

    def limit(self) -> float:
        """Return the most steps in flight over all stages."""
        width = float("inf") if self.width is None else self.width
        if self.rollout.ramp_start is None:
            return width
        return min(width, self.rollout.ramp_start + sum(step.outcome == "complete" for step in self.steps))


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process: the runs that it believes to hold, and the results that it has not reported."""

    owner: int
    slots: int
    alive: bool = True
    # Whether the database is within its reach.
    connected: bool = True
    renewed_at: float = 0.0
    held: list[Run] = field(default_factory=list)
    unwritten: list[tuple[Run, str, str | None]] = field(default_factory=list)
