"""Phases and strategy types as data: the rows fit together, and a further type needs nothing but rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from messages.event_types import EVENT_TYPES
from messages.queues import QUEUE_OF, WORKER_QUEUES, phases_of_queues, queue_of_phase
from messages.requests.queries import LogQuery
from service.settings import Settings
from statemachine.actions import Action, MoveStep, StepChange
from statemachine.errors import IllegalTransitionError
from statemachine.machines import StepMachine
from statemachine.plan import plan, start_of
from statemachine.snapshot import PlanLimits, RunView, Snapshot, StepView
from statemachine.states import (
    IMAGES,
    PHASES,
    PLAYBOOK_PHASES,
    PRECHECK,
    PREPARE,
    PRESTAGE,
    SHARED_PHASES,
    STRATEGY_TYPES,
    Effect,
    Phase,
    StepState,
    StepType,
    StrategyType,
    is_after,
    types_with,
)

PLAYBOOKS_DIR = Path(__file__).parents[3] / "playbooks"

# On paper: a fifth phase of the prestage, and a type that is not served.
CHARTS = Phase(
    state=cast("StepState", "prestaging-charts"),
    trigger="stage_charts",
    actor="stage_content",
    playbook="prestage_charts.yml",
    deadline_setting="images_deadline_s",
    wording="Prestaging charts",
)
WIDER = replace(PRESTAGE, phases=(*PRESTAGE.phases, CHARTS))
VERIFY = StrategyType(
    name=cast("StepType", "verify"),
    phases=(PRECHECK, PREPARE, CHARTS),
    effect=Effect.STAGES,
    is_strategy=True,
    may_skip=False,
    wording="A verification",
)
MACHINE = StepMachine({"prestage": WIDER, "verify": VERIFY})

STEP = StepView(
    id=1,
    strategy_id=None,
    stage=1,
    state="initial",
    version=1,
    subcloud_name="site1",
    managed=True,
    release="22.12",
    from_version="22.12",
)


def ended(step: StepView, phase: str, outcome: str = "succeeded", details: str = "") -> StepView:
    """Return a step whose run of `phase`, the one that it is in, has ended."""
    run = RunView(id=9, phase=phase, attempt=1, state="finished", outcome=outcome, details=details)
    return replace(step, state=phase, run=run)


def decide(step: StepView) -> list[Action]:
    """Return the plan of one step by the machine on paper."""
    snapshot = Snapshot(strategy=None, steps=(step,), preparations=())
    return plan(snapshot, 1000.0, PlanLimits(), MACHINE)


def only_move(step: StepView) -> MoveStep:
    """Return the plan of a step that is one move."""
    (move,) = decide(step)
    assert isinstance(move, MoveStep)
    return move


class TestRows:
    @pytest.mark.parametrize("phase", PHASES.values(), ids=list(PHASES))
    def test_a_phase_has_all_that_carries_it_out(self, phase: Phase) -> None:
        """Its actor has a queue that workers serve, its playbook is in our set, and its deadline is a setting."""
        assert queue_of_phase(phase.state) in WORKER_QUEUES
        assert QUEUE_OF[phase.actor] == queue_of_phase(phase.state)
        assert phase.playbook is None or (PLAYBOOKS_DIR / phase.playbook).is_file()
        assert phase.deadline_setting in Settings.model_fields

    def test_states_and_phases(self) -> None:
        """Every state of a step is the begin, an end, or a phase of some type."""
        others = {StepState.INITIAL, StepState.COMPLETE, StepState.FAILED, StepState.ABORTED}

        assert set(StepState) - others == set(PHASES)
        assert set(StepType) == set(STRATEGY_TYPES)

    @pytest.mark.parametrize("kind", STRATEGY_TYPES.values(), ids=list(STRATEGY_TYPES))
    def test_a_type_begins_with_the_facts_of_the_site(self, kind: StrategyType) -> None:
        """The first phase runs no playbook, another one follows, and at most one of a type is shared."""
        assert not kind.phases[0].needs_slot
        assert kind.work_state == kind.phases[1].state
        assert sum(phase.once_per_strategy for phase in kind.phases) <= 1

    def test_slots_and_sharing(self) -> None:
        """Playbooks take slots, the precheck does not; only the preparation is shared."""
        assert PLAYBOOK_PHASES == tuple(state for state in PHASES if state != "prestage-precheck")
        assert SHARED_PHASES == ("prestage-prepare",)

    @pytest.mark.parametrize(
        ("phase", "types"),
        [
            (None, ("prestage", "unstage")),
            ("prestage-precheck", ("prestage", "unstage")),
            ("prestaging-images", ("prestage",)),
            ("unstaging", ("unstage",)),
            ("nowhere", ()),
        ],
    )
    def test_types_with_a_phase(self, phase: str | None, types: tuple[str, ...]) -> None:
        """A phase leads to the types that have it."""
        assert types == types_with(phase)

    @pytest.mark.parametrize(
        ("state", "phase", "expected"),
        [
            ("prestaging-images", "prestage-prepare", True),
            ("prestage-prepare", "prestage-prepare", False),
            ("prestage-precheck", "prestage-prepare", False),
            ("initial", "prestage-precheck", False),
            ("complete", "prestage-precheck", False),
        ],
    )
    def test_order(self, state: str, phase: str, expected: bool) -> None:
        """Only phases come after phases, in the order of the rows."""
        assert expected is is_after(state, phase)

    def test_queues_lead_back_to_phases(self) -> None:
        """A worker of all queues carries out every phase; one of a single queue those that come by it."""
        assert set(PHASES) == phases_of_queues(WORKER_QUEUES)
        assert {"prestaging-packages", "prestaging-images", "unstaging"} == phases_of_queues(["prestager.subclouds"])
        assert phases_of_queues([]) == set()

    def test_events(self) -> None:
        """Each phase of a type has an event of its step and one of its run, called by the type."""
        names = {event.name for event in EVENT_TYPES}

        for kind in STRATEGY_TYPES.values():
            assert {f"{about}.{kind.name}.{state}" for about in ("step", "run") for state in kind.states} <= names
            assert kind.is_strategy is (f"strategy.{kind.name}.initial" in names)

    @pytest.mark.parametrize("phase", PHASES)
    def test_query_values(self, phase: str) -> None:
        """The log of a step can be asked for by every phase."""
        assert phase == LogQuery(phase=phase).phase


class TestOnPaper:
    def test_a_fifth_phase_follows_the_fourth(self) -> None:
        """The plan runs the added phase after the last one that is served, and completes the step after it."""
        fifth = only_move(ended(STEP, "prestaging-images"))

        assert (("prestaging-charts",), "prestaging-charts") == (fifth.path, fifth.run_phase)
        assert only_move(ended(STEP, "prestaging-charts")).path == (StepState.COMPLETE,)

    def test_a_fifth_phase_is_retried_and_fails_like_the_others(self) -> None:
        """A lost run is tried again in the added phase; a failed one ends the step in the words of its row."""
        again = only_move(ended(STEP, "prestaging-charts", "lost"))
        failed = only_move(ended(STEP, "prestaging-charts", "failed", "disk full"))

        assert ((), "prestaging-charts", 2) == (again.path, again.run_phase, again.attempt)
        assert failed.path == (StepState.FAILED,)
        assert failed.details.startswith("prestaging-charts: Prestaging charts failed for subcloud site1, ")

    def test_another_type_goes_through_its_own_phases(self) -> None:
        """A type takes phases of others in its own order; a shared one without work is passed through."""
        step = replace(STEP, type="verify")
        first = only_move(step)
        second = only_move(ended(step, "prestage-precheck"))

        assert ((), "prestage-precheck") == (first.path, first.run_phase)
        assert (("prestage-prepare", "prestaging-charts"), "prestaging-charts") == (second.path, second.run_phase)
        assert only_move(ended(step, "prestaging-charts")).path == (StepState.COMPLETE,)

    def test_another_type_waits_for_its_shared_phase(self) -> None:
        """An upgrade parks in the shared phase of any type."""
        move = only_move(ended(replace(STEP, type="verify", from_version="21.12"), "prestage-precheck"))

        assert (("prestage-prepare",), None) == (move.path, move.run_phase)

    def test_a_type_that_may_not_skip(self) -> None:
        """Where the row allows no skip, a precheck that says so fails the step."""
        move = only_move(ended(replace(STEP, type="verify"), "prestage-precheck", "skipped", "not now"))

        assert (("failed",), "prestage-precheck: not now") == (move.path, move.details)

    def test_the_machine_knows_no_more_than_its_rows(self) -> None:
        """A phase of a type that is not among the rows cannot be come to."""
        assert MACHINE.fire("prestaging-images", "stage_charts") == "prestaging-charts"
        with pytest.raises(IllegalTransitionError):
            MACHINE.fire("prestage-precheck", "unstage")
        with pytest.raises(IllegalTransitionError):
            MACHINE.fire(IMAGES.state, "complete")


class TestStart:
    @pytest.mark.parametrize("phase", PHASES)
    def test_the_claim_of_a_first_run_starts_the_step(self, phase: str) -> None:
        """A claim moves a step from its begin into the first phase; a claim of a later phase moves nothing."""
        change = StepChange(from_state=StepState.INITIAL, to_state=StepState.PRECHECK)

        assert start_of(phase) == (change if phase == "prestage-precheck" else None)
