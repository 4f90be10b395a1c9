"""The plan under any order of events: Hypothesis looks for the schedule that breaks a rule, and shrinks it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from statemachine.rollout import OnBudget, OnPrepareFailure, OnTimeLimit, RolloutMode
from statemachine.snapshot import PlanLimits
from statemachine.states import RunOutcome, StepState
from tests.property.plan_coordinator import StaleError
from tests.property.plan_fleet import FROM_VERSIONS, Fleet
from tests.property.plan_rows import Rollout, Run, Worker
from tests.property.simulate import remembered_transitions, simulate

# About twenty seconds on one core; PRESTAGER_EXAMPLES raises it for a long search.
EXAMPLES = int(os.environ.get("PRESTAGER_EXAMPLES", "250"))
SCHEDULES = 3_000

PLACES = st.integers(min_value=0, max_value=1000)
OUTCOMES = st.sampled_from([RunOutcome.SUCCEEDED, RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.LOST])
GROUPS = st.lists(st.tuples(st.sampled_from(["parallel", "serial"]), st.integers(1, 3)), min_size=1, max_size=3)

ROLLOUTS = st.builds(
    Rollout,
    mode=st.sampled_from(RolloutMode),
    ramp_start=st.none() | st.integers(1, 2),
    max_failures=st.none() | st.integers(0, 1),
    on_budget=st.sampled_from(OnBudget),
    on_prepare_failure=st.sampled_from(OnPrepareFailure),
    time_limit_s=st.none() | st.just(90.0),
    on_time_limit=st.sampled_from(OnTimeLimit),
)


class PlanMachine(RuleBasedStateMachine):
    """Anything may happen at any moment; the fleet asserts the rules at each change."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet: Fleet
        self._exit = ExitStack()
        self._exit.enter_context(remembered_transitions())

    @initialize(
        subclouds=st.integers(1, 7),
        groups=GROUPS,
        workers=st.lists(st.integers(1, 3), min_size=1, max_size=3),
        attempts=st.integers(1, 3),
        stop=st.booleans(),
        rollout=ROLLOUTS,
    )
    def begin(
        self,
        subclouds: int,
        groups: list[tuple[str, int]],
        workers: list[int],
        attempts: int,
        rollout: Rollout,
        *,
        stop: bool,
    ) -> None:
        self.fleet = Fleet(
            subclouds=subclouds,
            groups=groups,
            workers=workers,
            limits=PlanLimits(max_attempts=attempts),
            thorough=True,
        )
        self.fleet.create(chosen=range(subclouds), apply_type=None, width=None, stop=stop, rollout=rollout)
        self.fleet.command("apply")

    def worker(self, place: int) -> Worker:
        return self.fleet.workers[place % len(self.fleet.workers)]

    # ---- messages and workers

    @precondition(lambda self: self.fleet.messages)
    @rule(place=PLACES, worker=PLACES, again=st.booleans())
    def deliver(self, place: int, worker: int, *, again: bool) -> None:
        self.fleet.deliver(place % len(self.fleet.messages), self.worker(worker), again=again)

    @precondition(lambda self: self.fleet.messages)
    @rule(place=PLACES)
    def lose_message(self, place: int) -> None:
        self.fleet.messages.pop(place % len(self.fleet.messages))

    @rule(worker=PLACES)
    def take_waiting(self, worker: int) -> None:
        self.fleet.take_waiting(self.worker(worker))

    @precondition(lambda self: any(worker.held for worker in self.fleet.workers))
    @rule(place=PLACES, outcome=OUTCOMES, skip=st.booleans(), from_version=st.sampled_from(FROM_VERSIONS))
    def finish(self, place: int, outcome: str, from_version: str, *, skip: bool) -> None:
        held = [(worker, run) for worker in self.fleet.workers for run in worker.held]
        worker, run = held[place % len(held)]
        precheck = run.phase == StepState.PRECHECK
        if precheck and (self.fleet.busy(run) or (skip and outcome == RunOutcome.FAILED)):
            outcome = RunOutcome.SKIPPED
        passed = precheck and outcome == RunOutcome.SUCCEEDED
        self.fleet.finish(worker, run, outcome, from_version if passed else None)

    @precondition(lambda self: any(worker.held for worker in self.fleet.workers))
    @rule(place=PLACES)
    def hand_back(self, place: int) -> None:
        held = [(worker, run) for worker in self.fleet.workers for run in worker.held]
        self.fleet.hand_back(*held[place % len(held)])

    @rule(worker=PLACES)
    def die(self, worker: int) -> None:
        self.fleet.die(self.worker(worker))

    @rule(worker=PLACES, knows=st.booleans())
    def restart(self, worker: int, *, knows: bool) -> None:
        self.fleet.restart(self.worker(worker), knows=knows)

    @rule(worker=PLACES, connected=st.booleans())
    def connect(self, worker: int, *, connected: bool) -> None:
        self.fleet.connect(self.worker(worker), connected=connected)

    @rule(seconds=st.sampled_from([1.0, 15.0, 31.0, 46.0, 61.0]))
    def advance(self, seconds: float) -> None:
        self.fleet.advance(seconds)

    # ---- the coordinator

    @rule()
    def coordinate(self) -> None:
        self.fleet.settle()

    @rule()
    def crash_before_commit(self) -> None:
        """Nothing of what was planned is written, and the rows still say the same."""
        self.fleet.decide()

    @rule(worker=PLACES, place=PLACES, outcome=OUTCOMES)
    def interleave(self, worker: int, place: int, outcome: str) -> None:
        """Workers write between the look of a coordinator and its writes."""
        actions = self.fleet.decide()
        if self.fleet.messages:
            self.deliver(place, worker, again=False)
        self.advance_held(place, outcome)
        try:
            self.fleet.carry_out(actions)
        except StaleError:
            self.fleet.settle()

    def advance_held(self, place: int, outcome: str) -> None:
        if any(worker.held for worker in self.fleet.workers):
            self.finish(place, outcome, FROM_VERSIONS[1], skip=False)

    # ---- commands

    @rule(
        apply_type=st.sampled_from([None, "serial", "parallel"]),
        width=st.sampled_from([None, 1, 2]),
        rollout=ROLLOUTS,
        stop=st.booleans(),
    )
    def create(self, apply_type: str | None, width: int | None, rollout: Rollout, *, stop: bool) -> None:
        everybody = range(len(self.fleet.subclouds))
        existing = self.fleet.strategy
        created = self.fleet.create(chosen=everybody, apply_type=apply_type, width=width, stop=stop, rollout=rollout)

        assert not (created and existing)

    @rule(verb=st.sampled_from(["apply", "apply", "abort", "delete"]))
    def command(self, verb: str) -> None:
        self.fleet.command(verb)

    @rule(place=PLACES)
    def standalone(self, place: int) -> None:
        self.fleet.standalone(place % len(self.fleet.subclouds))

    @rule(place=PLACES, managed=st.booleans())
    def manage(self, place: int, *, managed: bool) -> None:
        self.fleet.manage(place % len(self.fleet.subclouds), managed=managed)

    # ---- brakes

    @rule(scope=st.sampled_from(["starts", "phases"]))
    def pause(self, scope: str) -> None:
        self.fleet.pause(scope)

    @rule(allow=st.sampled_from([None, 0, 1]))
    def resume(self, allow: int | None) -> None:
        self.fleet.resume(allow)

    @rule(stage=st.integers(1, 3))
    def approve(self, stage: int) -> None:
        self.fleet.approve(stage)

    @rule(place=PLACES, held=st.booleans())
    def hold_step(self, place: int, *, held: bool) -> None:
        self.fleet.hold_step(place % len(self.fleet.subclouds), held=held)

    @rule(place=PLACES)
    def put_first(self, place: int) -> None:
        self.fleet.put_first(place % len(self.fleet.subclouds))

    @rule(width=st.none() | st.integers(1, 4), max_failures=st.none() | st.integers(0, 2))
    def change(self, width: int | None, max_failures: int | None) -> None:
        self.fleet.change(width=width, max_failures=max_failures)

    @rule(place=PLACES)
    def cancel_step(self, place: int) -> None:
        self.fleet.cancel_step(place % len(self.fleet.subclouds))

    @rule(place=PLACES)
    def retry_step(self, place: int) -> None:
        self.fleet.retry_step(place % len(self.fleet.subclouds))

    @rule()
    def cancel(self) -> None:
        self.fleet.cancel()

    # ---- the rules

    @invariant()
    def rules_hold(self) -> None:
        if hasattr(self, "fleet"):
            self.fleet.check()

    def teardown(self) -> None:
        """Everything that was accepted comes to an end once the scheduling is fair."""
        try:
            if hasattr(self, "fleet"):
                self.fleet.quiesce(self.good)
                self.fleet.check()
        finally:
            self._exit.close()

    def good(self, run: Run) -> tuple[str, str | None]:
        if run.phase != StepState.PRECHECK:
            return RunOutcome.SUCCEEDED, None
        return (RunOutcome.SKIPPED, None) if self.fleet.busy(run) else (RunOutcome.SUCCEEDED, FROM_VERSIONS[1])


TestPlanMachine = PlanMachine.TestCase
TestPlanMachine.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    # A failure prints its own recipe; the suite keeps no examples between runs.
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture
def fast_machines() -> Iterator[None]:
    """Ask the machines once per transition."""
    with remembered_transitions():
        yield


@pytest.mark.usefixtures("fast_machines")
def test_thousands_of_schedules() -> None:
    """No schedule of messages, deaths and commands breaks a rule, and all come to rest; a failure names its seed."""
    runs = sum(simulate(seed) for seed in range(SCHEDULES))

    assert runs > SCHEDULES


def test_a_retry_when_all_stages_have_ended() -> None:
    """A step that is retried before the plan that would end its strategy opens its own stage again."""
    # All steps had ended there, and no stage was open.
    assert simulate(381070896) > 0


def test_schedule_is_made_from_its_seed_alone() -> None:
    """The same seed plays the same schedule."""
    assert simulate(11) == simulate(11)
