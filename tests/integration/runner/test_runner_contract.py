"""Rules that hold for every runner: the supervisor, and the one that runs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import NoFreeSlotError
from runner.fake import FakeRunEnd, FakeRunner
from runner.interface import PlaybookJob, RunEnded, Runner
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import PATIENCE_S, Results

QUICK = "- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: hello}}]\n"
SLOW = "- hosts: all\n  gather_facts: false\n  tasks: [{command: sleep 300}]\n"

MakeRunner = Callable[..., Runner]
MakeJob = Callable[..., PlaybookJob]


@pytest.fixture(params=["noop", "preloaded", "plain"])
def make_runner(request: pytest.FixtureRequest, worker: str, run_root: Path, results: Results) -> Iterator[MakeRunner]:
    """Makes a started runner of each kind; slow jobs are those whose playbook sleeps."""
    made: list[Runner] = []

    def decide(job: PlaybookJob) -> FakeRunEnd:
        return FakeRunEnd(delay_s=300.0 if "sleep" in job.playbook.read_text() else 0.0)

    def make(on_finished: Callable[[RunEnded], None] = results, **options: Any) -> Runner:
        runner: Runner
        if request.param == "noop":
            runner = FakeRunner(on_finished=on_finished, decide=decide, **options)
        else:
            place = {"worker": worker, "run_root": run_root}
            is_forked = request.param == "preloaded"
            runner = Supervisor(**place, on_finished=on_finished, stop_grace_s=1, preload=is_forked, **options)
        runner.start()
        made.append(runner)
        return runner

    yield make
    for runner in made:
        runner.stop()


def test_contract_success_is_reported_once(make_runner: MakeRunner, make_job: MakeJob, results: Results) -> None:
    """A job that does its work arrives once as succeeded, without details."""
    runner = make_runner(slots=1)
    runner.submit(make_job(QUICK))
    result = results.wait()
    runner.stop()

    assert (1, RunOutcome.SUCCEEDED, "") == (result.run_id, result.outcome, result.details)
    assert 1 == len(results.all)


def test_contract_slots_are_taken_and_freed(make_runner: MakeRunner, make_job: MakeJob, results: Results) -> None:
    """A taken slot refuses the next job and starts nothing; it is free again when the result arrives."""
    free_in_callback: list[int] = []
    runner = make_runner(lambda result: (free_in_callback.append(runner.free_slots), results(result))[1], slots=1)
    runner.submit(make_job(SLOW))

    assert 0 == runner.free_slots
    with pytest.raises(NoFreeSlotError):
        runner.submit(make_job(QUICK, run_id=2))

    runner.stop_run(1, "enough")
    results.wait()

    assert [1] == free_in_callback
    assert [] == results.find(2)


def test_contract_cancel_ends_as_stopped(make_runner: MakeRunner, make_job: MakeJob, results: Results) -> None:
    """A cancelled run ends as stopped, with the reason as its details; cancelling it again does nothing."""
    runner = make_runner(slots=1)
    runner.submit(make_job(SLOW))
    runner.stop_run(1, "the operator said so")
    runner.stop_run(1, "again")
    result = results.wait()
    runner.stop_run(1, "too late")

    assert (RunOutcome.LOST, "the operator said so") == (result.outcome, result.details)


def test_contract_unknown_runs_are_not_cancelled(make_runner: MakeRunner, results: Results) -> None:
    """Cancelling what is not there is ignored."""
    make_runner(slots=1).stop_run(99, "nobody")

    assert [] == results.all


def test_contract_deadline_fails_the_run(make_runner: MakeRunner, make_job: MakeJob, results: Results) -> None:
    """A run that passes its deadline fails and says so."""
    make_runner(slots=1).submit(make_job(SLOW, deadline_s=0.3))
    result = results.wait()

    assert RunOutcome.FAILED is result.outcome
    assert result.details.startswith("did not finish within 0.3 s")


def test_contract_stop_ends_all_runs(make_runner: MakeRunner, make_job: MakeJob, results: Results) -> None:
    """Stopping delivers all results before it returns, takes no more jobs, and may be repeated."""
    runner = make_runner(slots=3)
    for run_id in (1, 2, 3):
        runner.submit(make_job(SLOW, run_id=run_id))
    runner.stop()
    runner.stop()

    assert [RunOutcome.LOST] * 3 == [result.outcome for result in results.all]
    assert 0 == runner.free_slots
    with pytest.raises(NoFreeSlotError):
        runner.submit(make_job(QUICK, run_id=4))


def test_contract_run_ids_are_unique_while_running(make_runner: MakeRunner, make_job: MakeJob) -> None:
    """A second job with the id of a running one is refused: a cancel could not tell them apart."""
    runner = make_runner(slots=2)
    runner.submit(make_job(SLOW))
    with pytest.raises(NoFreeSlotError):
        runner.submit(make_job(SLOW))


def test_contract_a_raising_receiver_harms_nobody(make_runner: MakeRunner, make_job: MakeJob, results: Results) -> None:
    """An error in the callback is logged, and later results still arrive."""
    seen = threading.Event()

    def receive(result: RunEnded) -> None:
        seen.set()
        if result.run_id == 1:
            raise RuntimeError("receiver broke")
        results(result)

    runner = make_runner(receive, slots=2)
    runner.submit(make_job(QUICK))
    assert seen.wait(PATIENCE_S)
    runner.submit(make_job(QUICK, run_id=2))

    assert RunOutcome.SUCCEEDED is results.wait(2).outcome
