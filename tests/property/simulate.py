"""Thousands of random schedules, each made from its seed alone.

Run more than the suite does, from the project's folder, with
`python -m tests.property.simulate --schedules 100000`; `--first N` starts at another seed, and
`--first N --schedules 1` repeats one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from os import cpu_count
from random import Random
from time import perf_counter
from unittest.mock import patch

from statemachine.machines import StepMachine, fire_strategy
from statemachine.rollout import OnBudget, OnPrepareFailure, OnTimeLimit, RolloutMode
from statemachine.snapshot import PlanLimits
from statemachine.states import RunOutcome, StepState
from tests.property.plan_coordinator import StaleError
from tests.property.plan_fleet import FROM_VERSIONS, Fleet
from tests.property.plan_rows import Rollout, Run

_CHUNK = 250
_EVENTS = 24


def simulate(seed: int) -> int:
    """Play the schedule of `seed` to its end and return how many runs it had.

    Raises:
        AssertionError: A rule was broken; the seed is noted on it.
    """
    try:
        return _Schedule(seed).play()
    except Exception as error:
        error.add_note(f"simulate(seed={seed})")
        raise


@contextmanager
def remembered_transitions() -> Iterator[None]:
    """Ask the machines once per (state, trigger): they are pure, and 20 µs a call would be most of the time."""
    with (
        patch.object(StepMachine, "fire", cache(StepMachine.fire)),
        patch("statemachine.strategy_moves.fire_strategy", cache(fire_strategy)),
    ):
        yield


class _Schedule:
    """One fleet and the dice that decide what happens to it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed).random
        groups = [(("parallel", "parallel", "serial")[self.pick(3)], 1 + self.pick(3)) for _ in range(1 + self.pick(2))]
        self.fleet = Fleet(
            subclouds=1 + self.pick(5),
            groups=groups,
            workers=[1 + self.pick(3) for _ in range(1 + self.pick(2))],
            limits=PlanLimits(max_attempts=1 + self.pick(3)),
            thorough=seed % 8 == 0,
        )
        # Retries that are left once everything is scheduled fairly.
        self.retries = self.pick(4)
        # Some schedules are calm, so that all goes far; in some nearly everything fails.
        self.luck = (0.95, 0.8, 0.5)[self.pick(3)]

    def pick(self, count: int) -> int:
        """Return one of `count` numbers from 0."""
        return int(self.random() * count)

    def play(self) -> int:
        """Let things happen, then schedule fairly to the end."""
        fleet = self.fleet
        self._create()
        if self.random() < 0.9:
            fleet.command("apply")
        for _ in range(_EVENTS):
            self._happen()
            fleet.check()
        fleet.quiesce(self._outcome, self._retry_some)
        fleet.check()
        if fleet.strategy is not None:
            assert fleet.command("delete")
        return len(fleet.runs)

    def _happen(self) -> None:
        dice = self.random()
        if dice < 0.35:
            self._deliver()
        elif dice < 0.6:
            self._finish()
        elif dice < 0.75:
            self.fleet.settle()
        elif dice < 0.82:
            self.fleet.advance((1.0, 9.0, 31.0, 61.0)[self.pick(4)])
        elif dice < 0.9:
            self._trouble()
        else:
            self._ask()

    def _deliver(self) -> None:
        fleet = self.fleet
        worker = fleet.workers[self.pick(len(fleet.workers))]
        if fleet.messages:
            fleet.deliver(self.pick(len(fleet.messages)), worker, again=self.random() < 0.1)
        else:
            fleet.take_waiting(worker)

    def _finish(self) -> None:
        held = [(worker, run) for worker in self.fleet.workers for run in worker.held]
        if held:
            worker, run = held[self.pick(len(held))]
            self.fleet.finish(worker, run, *self._outcome(run))

    def _outcome(self, run: Run) -> tuple[str, str | None]:
        precheck = run.phase == StepState.PRECHECK
        if precheck and self.fleet.busy(run):
            return RunOutcome.SKIPPED, None
        if self.random() < self.luck:
            return RunOutcome.SUCCEEDED, FROM_VERSIONS[self.pick(3)] if precheck else None
        bad = (
            RunOutcome.FAILED,
            RunOutcome.LOST,
            RunOutcome.SKIPPED if precheck else RunOutcome.LOST,
            RunOutcome.CANCELLED if run.cancel else RunOutcome.DRAINED,
        )
        return bad[self.pick(4)], None

    def _trouble(self) -> None:
        fleet = self.fleet
        worker = fleet.workers[self.pick(len(fleet.workers))]
        kind = self.pick(7)
        if kind == 0 and fleet.messages:
            fleet.messages.pop(self.pick(len(fleet.messages)))
        elif kind == 1:
            fleet.die(worker)
        elif kind == 2:
            fleet.restart(worker, knows=self.random() < 0.5)
        elif kind == 3:
            fleet.connect(worker, connected=not worker.connected)
        elif kind == 4:
            self._hand_back()
        elif kind == 5:
            fleet.decide()
        else:
            self._interleave()

    def _hand_back(self) -> None:
        held = [(worker, run) for worker in self.fleet.workers for run in worker.held]
        if held:
            self.fleet.hand_back(*held[self.pick(len(held))])

    def _interleave(self) -> None:
        """Let workers write between a coordinator's look and its writes."""
        fleet = self.fleet
        actions = fleet.decide()
        for _ in range(3):
            if self.random() < 0.5:
                self._deliver()
            else:
                self._finish()
        try:
            fleet.carry_out(actions)
        except StaleError:
            fleet.settle()

    def _ask(self) -> None:
        if self.random() < 0.6:
            self._brake()
            return
        fleet = self.fleet
        kind = self.pick(6)
        if kind == 0:
            self._create()
        elif kind == 1:
            fleet.command("apply")
        elif kind == 2:
            fleet.command("abort")
        elif kind == 3:
            fleet.command("delete")
        elif kind == 4:
            fleet.standalone(self.pick(len(fleet.subclouds)))
        else:
            fleet.manage(self.pick(len(fleet.subclouds)), managed=self.random() < 0.6)

    def _brake(self) -> None:
        """Hold, let go, cancel or change what goes on."""
        fleet = self.fleet
        kind, place = self.pick(11), self.pick(len(fleet.subclouds))
        if kind < 2:
            fleet.pause(("starts", "phases")[self.pick(2)])
            self._hand_back()
        elif kind == 2:
            fleet.resume((None, 0, 1)[self.pick(3)])
        elif kind == 3:
            fleet.hold_step(place, held=self.random() < 0.6)
        elif kind == 4:
            fleet.put_first(place)
        elif kind == 5:
            fleet.change(width=1 + self.pick(4))
        elif kind == 6:
            fleet.change(max_failures=self.pick(3))
        elif kind == 7:
            fleet.cancel_step(place)
        elif kind == 8:
            self._retry()
        else:
            self._decide(is_approval=kind == 9)

    def _decide(self, *, is_approval: bool) -> None:
        """Approve what comes after a stage, or now and then cancel the strategy."""
        if is_approval:
            self.fleet.approve(1 + self.pick(3))
        elif self.random() < 0.3:
            self.fleet.cancel()

    def _retry_some(self) -> None:
        """Retry what has failed, a few times in a schedule."""
        if self.retries and self.random() < 0.5:
            self.retries -= 1
            self.fleet.settle()
            self._retry()

    def _retry(self) -> None:
        """Retry each site that may be retried, or one."""
        fleet = self.fleet
        count = len(fleet.subclouds)
        places = range(count) if self.random() < 0.5 else [self.pick(count)]
        for place in places:
            fleet.retry_step(place)

    def _rollout(self) -> Rollout | None:
        if self.random() < 0.3:
            return None
        mode = (RolloutMode.STAGES, RolloutMode.WINDOW, RolloutMode.WINDOW)[self.pick(3)]
        stage_by_stage = mode == RolloutMode.WINDOW and self.random() < 0.5
        return Rollout(
            mode=mode,
            stage_by_stage=stage_by_stage,
            stage_budgets={1: 0, 2: 0} if stage_by_stage and self.random() < 0.5 else {},
            soaks_s={1: 40.0, 3: 5.0} if stage_by_stage and self.random() < 0.5 else {},
            gates={1, 2} if stage_by_stage and self.random() < 0.5 else set(),
            ramp_start=(None, None, 1, 2)[self.pick(4)],
            max_failures=(None, None, 0, 1)[self.pick(4)],
            on_budget=(OnBudget.PAUSE, OnBudget.STOP)[self.pick(2)],
            on_prepare_failure=(OnPrepareFailure.FAIL, OnPrepareFailure.PAUSE)[self.pick(2)],
            time_limit_s=(None, None, None, 90.0)[self.pick(4)],
            on_time_limit=(OnTimeLimit.ABORT, OnTimeLimit.CANCEL)[self.pick(2)],
        )

    def _create(self) -> None:
        self.fleet.create(
            chosen=range(len(self.fleet.subclouds)),
            apply_type=(None, None, "serial", "parallel")[self.pick(4)],
            width=(None, None, 1, 2, 5)[self.pick(5)],
            stop=self.random() < 0.4,
            rollout=self._rollout(),
        )


def _play_chunk(seeds: range) -> tuple[int, int]:
    with remembered_transitions():
        return len(seeds), sum(simulate(seed) for seed in seeds)


def main() -> int:
    """Play many schedules on all cores; print the rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=cpu_count())
    options = parser.parse_args()
    end = options.first + options.schedules
    chunks = [range(start, min(start + _CHUNK, end)) for start in range(options.first, end, _CHUNK)]
    began = perf_counter()
    results = []
    with ProcessPoolExecutor(options.processes) as pool:
        try:
            results += pool.map(_play_chunk, chunks)
        except AssertionError:
            # The first seed that breaks a rule is enough.
            pool.shutdown(cancel_futures=True)
            raise
    seconds = perf_counter() - began
    played, runs = (sum(column) for column in zip(*results, strict=True))
    rate = played / seconds
    sys.stdout.write(f"{played} schedules, {runs} runs, {seconds:.1f} s, {rate:.0f} schedules/s, no rule broken\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
