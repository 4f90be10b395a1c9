"""A strategy, a step, a run and a preparation as the plan sees them, to be changed by tests."""

from __future__ import annotations

from dataclasses import replace

from statemachine.actions import (
    Action,
    StepChange,
)
from statemachine.plan import plan
from statemachine.snapshot import HoldView, PlanLimits, PreparationView, RunView, Snapshot, StepView, StrategyView
from statemachine.states import StepState

NOW = 1000.0
ABORT = StepChange(from_state=StepState.INITIAL, to_state=StepState.ABORTED)
LIMITS = PlanLimits(max_attempts=3)
STRATEGY = StrategyView(
    id=1, state="applying", stop_on_failure=False, open_stage=1, failed_stage=None, any_aborted=False
)
STEP = StepView(
    id=11,
    strategy_id=1,
    stage=1,
    state="initial",
    version=7,
    subcloud_name="site11",
    managed=True,
    release="22.12",
)
RUN = RunView(id=21, phase="prestage-precheck", attempt=1, state="queued")
PREPARATION = PreparationView(
    id=31, owner=(1, None), release="22.12", from_version="21.12", opened_by_step_id=11, state="running"
)


def decide(
    *steps: StepView,
    strategy: StrategyView | None = STRATEGY,
    preparations: tuple[PreparationView, ...] = (),
    holds: tuple[HoldView, ...] = (),
) -> list[Action]:
    return plan(Snapshot(strategy=strategy, steps=steps, preparations=preparations, holds=holds), NOW, LIMITS)


def finished(phase: str, outcome: str, *, attempt: int = 1, details: str = "") -> RunView:
    return replace(RUN, phase=phase, state="finished", outcome=outcome, attempt=attempt, details=details)


def in_phase(phase: str, outcome: str, *, attempt: int = 1, details: str = "") -> StepView:
    run = finished(phase, outcome, attempt=attempt, details=details)
    return replace(STEP, state=phase, from_version="21.12", run=run)
