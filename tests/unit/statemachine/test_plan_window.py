"""The plan of a sliding window: places, order, slow start, sites that were put first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import pytest

from statemachine.actions import Action, MoveStep
from statemachine.rollout import HoldKind, HoldScope, RolloutMode
from statemachine.snapshot import HoldView, StepView, StrategyView
from statemachine.states import StepState
from tests.bench.schedules import draw_durations, longest_first_s, sliding_window_s
from tests.unit.statemachine.plan_views import PREPARATION, RUN, STEP, STRATEGY, decide, in_phase

WINDOW = replace(STRATEGY, mode=RolloutMode.WINDOW, width=2)
BY_STAGE = replace(WINDOW, width=None, stage_widths={1: 1, 2: 2})
ONE_SITE = HoldView(id=41, kind=HoldKind.OPERATOR, scope=HoldScope.PHASES, step_id=11)


def waiting(*stages: int) -> list[StepView]:
    """Return steps that have not started, with ids from 11, of the given stages."""
    return [replace(STEP, id=11 + place, stage=stage) for place, stage in enumerate(stages)]


def moved(actions: Sequence[Action]) -> list[int]:
    """Return the ids of the steps that get a run."""
    assert all(isinstance(action, MoveStep) and action.run_phase for action in actions)
    return [action.step_id for action in actions if isinstance(action, MoveStep)]


class TestPlaces:
    @pytest.mark.parametrize(("in_flight", "expected"), [(0, [11, 12]), (1, [11]), (2, []), (3, [])])
    def test_width(self, in_flight: int, expected: list[int]) -> None:
        """As many steps start as places are free; over a smaller width none does."""
        assert expected == moved(decide(*waiting(1, 1, 1), strategy=replace(WINDOW, in_flight=in_flight)))

    def test_a_place_is_passed_on_to_the_next_phase(self) -> None:
        """A step in flight keeps its place for its next phase, in a full window and over a smaller width."""
        strategy = replace(WINDOW, in_flight=3)

        assert [11] == moved(decide(in_phase("prestaging-packages", "succeeded"), strategy=strategy))

    def test_place_of_a_step_that_prepared(self) -> None:
        """A step that kept its place while it prepared goes on in a full window."""
        step = replace(STEP, state="prestage-prepare", from_version="21.12", preparing=True)
        done = replace(PREPARATION, state="complete")

        assert [11] == moved(decide(step, strategy=replace(WINDOW, in_flight=2), preparations=(done,)))

    @pytest.mark.parametrize(("in_flight", "expected"), [(0, [12, 13]), (1, [12]), (2, [])])
    def test_parked_steps_come_first(self, in_flight: int, expected: list[int]) -> None:
        """Parked steps take places before those that have not started, also after their preparation."""
        parked = [
            replace(STEP, id=12, state="prestaging-images"),
            replace(STEP, id=13, state="prestage-prepare", from_version="21.12"),
        ]
        done = replace(PREPARATION, state="complete")
        strategy = replace(WINDOW, in_flight=in_flight)

        assert expected == moved(decide(STEP, *parked, strategy=strategy, preparations=(done,)))

    def test_parked_steps_of_a_full_strategy_that_aborts(self) -> None:
        """Parked steps get no more places than there are while the strategy aborts."""
        parked = [replace(STEP, id=one, state="prestaging-images") for one in (11, 12, 13)]

        assert [11] == moved(decide(*parked, strategy=replace(WINDOW, state="aborting", in_flight=1)))

    def test_width_of_each_stage(self) -> None:
        """With a width for each stage, places are counted apart."""
        assert [11] == moved(decide(*waiting(1, 1, 2), strategy=BY_STAGE))

    def test_next_stage_begins_when_all_are_handed_out(self) -> None:
        """The next stage begins when every step of the one before has started or has a place."""
        strategy = replace(BY_STAGE, in_flight=1, in_flight_by_stage={2: 1})

        assert [11, 12] == moved(decide(*waiting(1, 2, 2), strategy=strategy))

    @pytest.mark.parametrize(("succeeded", "expected"), [(0, [11]), (1, [11, 12]), (5, [11, 12])])
    def test_slow_start(self, succeeded: int, expected: list[int]) -> None:
        """The window begins with a few places, and grows by each step that succeeded up to the width."""
        strategy = replace(WINDOW, ramp_start=1, succeeded=succeeded)

        assert expected == moved(decide(*waiting(1, 1, 1), strategy=strategy))

    def test_slow_start_of_stages_with_widths(self) -> None:
        """The slow start limits the whole strategy where each stage has its own width."""
        assert [11] == moved(decide(*waiting(1, 2), strategy=replace(BY_STAGE, ramp_start=1)))

    def test_unmanaged(self) -> None:
        """A subcloud that was unmanaged fails its step at its turn, and not before."""
        steps = [replace(step, managed=False) for step in waiting(1, 1, 1)]

        actions = decide(*steps, strategy=replace(WINDOW, in_flight=1))

        assert [(11, (StepState.FAILED,))] == [(one.step_id, one.path) for one in actions if isinstance(one, MoveStep)]


class TestOrder:
    def test_stage_position_id(self) -> None:
        """Steps start by stage, then by position, then by id."""
        late, early = replace(STEP, id=11, position=7), replace(STEP, id=12, position=3)
        other = replace(STEP, id=10, stage=2)

        assert [12, 11, 10] == moved(decide(other, late, early, strategy=replace(WINDOW, width=3)))

    def test_earlier_stage_without_a_place(self) -> None:
        """A step waits while one of an earlier stage has no place."""
        strategy = replace(BY_STAGE, in_flight=1, in_flight_by_stage={1: 1})

        assert decide(*waiting(1, 2), strategy=strategy) == []

    def test_site_held_by_itself(self) -> None:
        """A step that is held by itself keeps no later stage from starting."""
        assert [12] == moved(decide(*waiting(1, 2), strategy=WINDOW, holds=(ONE_SITE,)))

    def test_held_strategy(self) -> None:
        """Under a hold of the strategy no stage starts, whatever has places."""
        hold = replace(ONE_SITE, step_id=None, stage=0)

        assert decide(*waiting(1, 2), strategy=WINDOW, holds=(hold,)) == []

    def test_put_first(self) -> None:
        """A site that was put first starts before all others of any stage."""
        first = replace(STEP, id=19, stage=2, position=-1)

        assert [19, 11] == moved(decide(*waiting(1, 1), first, strategy=WINDOW))

    def test_put_first_without_a_place(self) -> None:
        """One that was put first and finds no place in its stage holds up its own stage and later ones alone."""
        first = replace(STEP, id=19, stage=2, position=-1)
        strategy = replace(BY_STAGE, stage_widths={1: 1, 2: 1, 3: 1}, in_flight=1, in_flight_by_stage={2: 1})

        assert [11] == moved(decide(*waiting(1, 2, 3), first, strategy=strategy))


def makespan_s(durations: Sequence[float], strategy: StrategyView) -> float:
    """Return the seconds of a strategy whose sites take `durations`, with a plan at each end of one."""
    unstarted = {step.id: step for step in waiting(*[1] * len(durations))}
    for step_id, duration in list(zip(unstarted, durations, strict=True)):
        unstarted[step_id] = replace(unstarted[step_id], position=round(-1000 * duration) + 10**9)
    ends: list[tuple[float, int]] = []
    now = 0.0
    while unstarted or ends:
        for step_id in moved(decide(*unstarted.values(), strategy=replace(strategy, in_flight=len(ends)))):
            heapq.heappush(ends, (now + durations[step_id - 11], step_id))
            unstarted.pop(step_id)
        assert len(ends) <= (strategy.width or 0)
        now, _ = heapq.heappop(ends)
    return now


class TestMakespan:
    @pytest.mark.parametrize(("count", "width"), [(1, 3), (6, 3), (7, 3), (20, 6), (5, 1)])
    def test_equal_durations(self, count: int, width: int) -> None:
        """With equal durations a strategy takes as many of them as the width goes into the sites, rounded up."""
        assert ceil(count / width) * 10 == makespan_s([10.0] * count, replace(WINDOW, width=width))

    def test_longest_first(self) -> None:
        """With positions by duration a strategy takes the time of the ideal schedule with the longest first."""
        durations = draw_durations(60, mean_s=60, variation=0.5, seed=3)

        took = makespan_s(durations, replace(WINDOW, width=8))

        assert took == pytest.approx(longest_first_s(durations, 8))
        assert took <= sliding_window_s(durations, 8)


def test_stages_have_no_places() -> None:
    """In mode `stages` the width, the slow start and what is in flight count nothing."""
    strategy = replace(WINDOW, mode=RolloutMode.STAGES, in_flight=2, ramp_start=1)
    running = replace(STEP, id=9, state="prestaging-images", run=replace(RUN, state="running"))

    assert [11, 12] == moved(decide(running, *waiting(1, 1, 2), strategy=strategy))
