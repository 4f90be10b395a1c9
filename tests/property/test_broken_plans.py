"""Each rule of the simulated schedules can be broken: a plan without it is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from statemachine.actions import MoveStep
from statemachine.admission import start_order
from statemachine.proofs import SiteRecord, SiteRun
from statemachine.snapshot import StepView
from statemachine.step_moves import StepMoves
from statemachine.strategy_moves import StrategyMoves
from tests.property.simulate import remembered_transitions, simulate

# Schedules that look at what waits after each pass too, and those that do not.
THOROUGH = range(0, 8 * 400, 8)
QUICK = range(1, 8 * 400, 8)


def always(answer: object) -> Callable[..., Any]:
    """Return a function that always gives the same answer."""
    return lambda *_args, **_options: answer


RUN_PHASE, AFTER_RUN, ADVANCE, CANCEL = StepMoves.run_phase, StepMoves.after_run, StepMoves.advance, StepMoves.cancel


def count_withdrawn(moves: StepMoves, step: StepView, phase: Any) -> MoveStep:
    """Count an attempt for a run that nobody began."""
    return replace(RUN_PHASE(moves, step, phase), attempt=step.attempt + 1)


def forget_mark(moves: StepMoves, step: StepView, *ended: Any) -> MoveStep:
    """Go on with a step that is to be cancelled."""
    return AFTER_RUN(moves, replace(step, cancel_requested=False), *ended)


def keep_no_place(moves: StepMoves, *step: Any) -> MoveStep:
    """Leave the place to others while the step prepares, and take it back unasked."""
    return replace(ADVANCE(moves, *step), preparing=False)


def say_cancelled(moves: StepMoves, *step: Any) -> MoveStep:
    """Invent a state that no client knows."""
    return replace(CANCEL(moves, *step), path=("cancelled",))


def last_first(step: StepView) -> tuple[bool, int, int, int]:
    """Take the last stage first."""
    is_first, stage, position, step_id = start_order(step)
    return is_first, -stage, -position, -step_id


def over_when_halted(moves: StrategyMoves) -> bool:
    """End a halted strategy at once."""
    strategy = moves.strategy
    return strategy.open_stage is None or (strategy.stop_on_failure and strategy.failed_stage is not None)


def any_run(phase: str, _wanted: object, record: SiteRecord) -> SiteRun | None:
    """Take any run of the phase that brought content for a proof, whatever came after it."""
    return next((run for run in record.runs if run.phase == phase and run.content is not None), None)


HOLDS, ADMISSION = "statemachine.admission.HoldCoverage", "statemachine.admission"
SNAPSHOT = "statemachine.snapshot.StrategyView"
STRATEGY, STEP = "statemachine.strategy_moves", "statemachine.step_moves.StepMoves"
never = always(answer=False)
BROKEN: dict[str, tuple[str, object, range, str]] = {
    "starts under a hold": (f"{HOLDS}.stops_start", never, QUICK, "a step starts under a hold"),
    "phases under a hold": (f"{HOLDS}.stops_phase", never, QUICK, "under a hold|only held steps wait for"),
    "runs of before the hold": (f"{HOLDS}.stops_queued_run", never, THOROUGH, "left in the queue|the needed rows"),
    "holds for ever": (f"{STRATEGY}.StrategyMoves._end_holds", always(()), QUICK, "a hold outlives"),
    "no window": (f"{ADMISSION}.Places.take", always(answer=True), QUICK, "more in flight than"),
    "no place": (f"{ADMISSION}.Places.take", never, THOROUGH, "though there is a place|the needed rows"),
    "no window, no end": (f"{ADMISSION}.Places.take", never, QUICK, "no rest"),
    "wrong order": (f"{ADMISSION}.start_order", last_first, QUICK, "a step starts before"),
    "a place that is not kept": (f"{STEP}.advance", keep_no_place, QUICK, "a place is lost"),
    "no budget": (f"{ADMISSION}.is_budget_exceeded", never, QUICK, "after the failures|starts under a hold"),
    "no hold of the budget": (f"{STRATEGY}.StrategyMoves._budget_holds", always(()), THOROUGH, "nothing holds"),
    "no stages": (f"{SNAPSHOT}.has_open_stage_only", False, QUICK, "before the one before it has ended"),
    "no budget of a stage": (f"{ADMISSION}.exceeded_stages", always(()), QUICK, "after the failures|under a hold"),
    "no hold after a stage": (f"{STRATEGY}.exceeded_stages", always(()), THOROUGH, "nothing holds the stages"),
    "no gate": ("statemachine.snapshot.EndedStage.needs_approval", False, QUICK, "passed unseen|has shown nothing"),
    "no soak time": (f"{HOLDS}.until", always(None), QUICK, "a soak ends before its time"),
    "a stage before its gate": (
        f"{ADMISSION}._closing_stages",
        always(()),
        QUICK,
        "is passed|after the failures|under a hold",
    ),
    "a stage that is never passed": (f"{STRATEGY}.StrategyMoves._stage_passage", always(()), QUICK, "no rest"),
    "no stop": (f"{ADMISSION}.is_halted", never, QUICK, "after the failures|after a stopping failure"),
    "a stop that waits": (f"{STRATEGY}.is_halted", never, THOROUGH, "that is over goes on"),
    "a stop that never ends": (f"{STRATEGY}.is_halted", never, QUICK, "no rest"),
    "an end too early": (f"{STRATEGY}.StrategyMoves._is_over", over_when_halted, QUICK, "that still works"),
    "withdrawn counts": (f"{STEP}.run_phase", count_withdrawn, QUICK, "counted wrongly"),
    "no cancel": (f"{STEP}.after_run", forget_mark, QUICK, "that is to be cancelled"),
    "a new word": (f"{STEP}.cancel", say_cancelled, QUICK, "not one of the contract"),
    "no time limit": (f"{STRATEGY}.is_time_over", never, THOROUGH, "overdue"),
    "no proof": ("statemachine.step_moves.proof_of", always(None), range(400), "that are not proved, or brought again"),
    "a proof by any run": ("statemachine.step_moves.proof_of", any_run, range(400), "that are not proved"),
    "no second round": ("statemachine.plan._begin_preparation", always(()), QUICK, "no rest"),
}


@pytest.fixture(autouse=True)
def fast_machines() -> Iterator[None]:
    """Ask the machines once per transition."""
    with remembered_transitions():
        yield


@pytest.mark.parametrize(("place", "broken", "seeds", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_plan(monkeypatch: pytest.MonkeyPatch, place: str, broken: object, seeds: range, message: str) -> None:
    """Among a few hundred schedules one breaks the rule that the plan has lost, and names its seed."""
    monkeypatch.setattr(place, broken)

    with pytest.raises(AssertionError, match=message) as caught:
        play(seeds)

    assert caught.value.__notes__[-1].startswith("simulate(seed=")


def play(seeds: range) -> None:
    """Play schedules up to the first that breaks a rule."""
    for seed in seeds:
        simulate(seed)
