"""Stopping a run means that nothing of it is left: by cancel, deadline, or the death of its own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from runner.interface import PlaybookJob
from runner.processes import marked
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, Waiting, hosts_of_runs, run_directories, text
from tests.support.waiting import wait_for

# The next one is tried where a busy machine has not come far enough within the one before.
DEADLINES_S = (3, 9, 27, 81)


def hosting_child(worker: str) -> psutil.Process:
    """Return the child process that hosts the run."""
    (child,) = hosts_of_runs(worker)
    return child


def test_cancel_ends_the_whole_tree(
    supervisor: Supervisor, waiting: Waiting, results: Results, worker: str, run_root: Path
) -> None:
    """Cancel ends processes in other sessions, without the marker, and deaf to TERM; nothing is left at the result."""
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    supervisor.stop_run(1, "cancelled by admin")
    result = results.wait()

    assert [] == [*waiting.processes(), *marked(worker)]
    assert [] == run_directories(run_root, worker)
    assert (RunOutcome.LOST, "cancelled by admin") == (result.outcome, result.details)
    assert "it began" in text(result)


def test_deadline_ends_the_tree_and_names_the_task(
    supervisor: Supervisor, waiting: Waiting, results: Results, worker: str
) -> None:
    """A run past its deadline is ended like a cancelled one; it failed, and the task that took too long is named."""
    for run_id, deadline_s in enumerate(DEADLINES_S, start=1):
        supervisor.submit(replace(waiting.job, run_id=run_id, deadline_s=float(deadline_s)))
        result = results.wait(run_id)
        assert [] == [*waiting.processes(), *marked(worker)]
        if "task 'Wait for ever' was running" in result.details:
            break

    expected = f"did not finish within {deadline_s} s; task 'Wait for ever' was running"
    assert (RunOutcome.FAILED, expected) == (result.outcome, result.details)


def test_a_fixed_limit_ends_the_tree_and_says_which_it_was(
    supervisor: Supervisor, make_job: Callable[..., PlaybookJob], results: Results, worker: str
) -> None:
    """A run at a limit that nothing moves is ended, with the limit's sentence and the task, whatever it announced."""
    reason = "The limit of 3 s (packages-s) was reached in prestaging-packages."
    for run_id, limit_s in enumerate(DEADLINES_S, start=1):
        fields = {"deadline_s": None, "limit_s": float(limit_s), "limit_reason": reason}
        supervisor.submit(make_job(LONG_TRANSFER, run_id=run_id, extra_vars={"transfer_s": 300}, **fields))
        result = results.wait(run_id)
        if "task 'Transfer' was running" in result.details:
            break

    assert [] == marked(worker)
    assert RunOutcome.FAILED is result.outcome
    assert f"{reason.removesuffix('.')}; task 'Transfer' was running" == result.details


LONG_TRANSFER = """
- hosts: all
  gather_facts: false
  vars: {prestage_transfer_bytes: 1000}
  tasks:
    - name: Announce
      debug: {var: prestage_transfer_bytes}
    - name: Transfer
      command: "sleep {{ transfer_s }}"
"""


def test_announced_bytes_move_the_deadline(
    supervisor: Supervisor, make_job: Callable[..., PlaybookJob], results: Results
) -> None:
    """A run that announces what it brings to its site goes on beyond the deadline of its setting."""
    for run_id, deadline_s in enumerate(DEADLINES_S, start=1):
        extra_vars = {"transfer_s": deadline_s + 1}
        supervisor.submit(make_job(LONG_TRANSFER, run_id=run_id, deadline_s=deadline_s, extra_vars=extra_vars))
        result = results.wait(run_id)
        if "task 'Transfer' was running" in result.details or result.outcome is RunOutcome.SUCCEEDED:
            break

    assert RunOutcome.SUCCEEDED is result.outcome, result.details


def test_killed_child_fails_the_run_and_is_swept(
    supervisor: Supervisor, waiting: Waiting, results: Results, worker: str
) -> None:
    """When the run's own process is killed, all marked is ended, the run failed, its output is kept and ends there."""
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    hosting_child(worker).kill()
    result = results.wait()

    assert [] == marked(worker)
    assert (RunOutcome.FAILED, "the run's process died (signal SIGKILL)") == (result.outcome, result.details)
    assert "it began" in text(result)
    assert len(text(result).encode()) == result.cut_at_bytes


def test_frozen_child_is_ended_too(
    make_supervisor: Callable[..., Supervisor], waiting: Waiting, results: Results, worker: str
) -> None:
    """A child that does not react to a cancel any more is killed, and what it hosted is swept."""
    supervisor = make_supervisor(stop_grace_s=0.0)
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    hosting_child(worker).suspend()
    supervisor.stop_run(1, "enough")
    result = results.wait()

    assert [] == marked(worker)
    assert (RunOutcome.LOST, "enough") == (result.outcome, result.details)


def test_terminated_child_stops_its_tree(
    supervisor: Supervisor, waiting: Waiting, results: Results, worker: str
) -> None:
    """TERM to the run's own process (a service manager's stop) stops the run; it says nothing about the site."""
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    hosting_child(worker).terminate()
    result = results.wait()

    assert [] == [*waiting.processes(), *marked(worker)]
    assert (RunOutcome.LOST, "the run's process was told to terminate") == (result.outcome, result.details)


def test_dead_warm_child_is_replaced(
    make_supervisor: Callable[..., Supervisor], waiting: Waiting, results: Results, worker: str
) -> None:
    """A warm child that was killed before it got its job costs nothing: another one takes the job."""
    supervisor = make_supervisor(warm=1)
    wait_for(lambda: marked(worker))
    hosting_child(worker).kill()
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    supervisor.stop_run(1, "enough")

    assert RunOutcome.LOST is results.wait().outcome
