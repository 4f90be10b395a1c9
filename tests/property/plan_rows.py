"""Rows of the model in memory, with the views of the plan.

Every row keeps the view that the plan gets, made anew only after a change: a schedule costs microseconds that way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from statemachine.snapshot import PreparationOwner, PreparationView, RunView, StepView
from statemachine.states import RunState, StepState, StrategyState

RELEASE = "22.12"


class Run:
    """One execution of one phase, for a step or for a preparation."""

    __slots__ = (
        "attempt",
        "consumed",
        "id",
        "lease_until",
        "outcome",
        "owner",
        "phase",
        "state",
        "target",
        "view",
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
            )
        return self.view


class Step:
    """One subcloud of a strategy, or a standalone prestage."""

    __slots__ = (
        "details",
        "from_version",
        "history",
        "id",
        "open",
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
        self.view: StepView | None = None

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
            )
        return self.view


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
                run=self.run.look() if self.run else None,
            )
        return self.view


@dataclass(slots=True, eq=False)
class Subcloud:
    """One site."""

    id: int
    group: int
    managed: bool = True

    @property
    def name(self) -> str:
        """Return the name of the site."""
        return f"subcloud{self.id}"


@dataclass(slots=True, eq=False)
class Strategy:
    """One orchestration."""

    id: int
    stop_on_failure: bool
    state: str = StrategyState.INITIAL
    steps: list[Step] = field(default_factory=list)
    # Number of steps of each stage.
    widths: dict[int, int] = field(default_factory=dict)
    # Somebody got the answer that it stops.
    abort_answered: bool = False


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
