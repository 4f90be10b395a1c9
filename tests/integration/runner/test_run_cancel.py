"""Cancelling a run by an operator: TERM, the grace of the command, KILL, and critical sections of playbooks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import run_session
from runner.interface import PlaybookJob
from runner.processes import marked
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, Waiting, sleepers, text
from tests.support.waiting import wait_for

# What the log says while a critical section is waited for.
IN_SECTION = "run 1 is in a critical section"

POLITE = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Work
      ansible.builtin.shell: |
        touch {{ ready }}
        sleep {{ mark }}
"""

CRITICAL = """
- hosts: all
  gather_facts: false
  vars: {section: "{{ lookup('ansible.builtin.env', 'PRESTAGER_CRITICAL_SECTION') }}"}
  tasks:
    - name: Begin the critical section
      ansible.builtin.copy: {dest: "{{ section }}", content: "", mode: "0600"}
      delegate_to: localhost
    - name: Exchange the content
      ansible.builtin.shell: |
        touch {{ ready }}
        while [ ! -e {{ go_on }} ]; do sleep 0.05; done
        touch {{ exchanged }}
    - name: End the critical section
      ansible.builtin.file: {path: "{{ section }}", state: absent}
      delegate_to: localhost
    - name: Wait for ever
      ansible.builtin.command: sleep {{ mark }}
"""


class Critical:
    """A job in a critical section that goes on until the test lets it."""

    def __init__(self, make_job: Callable[..., PlaybookJob], directory: Path) -> None:
        self.ready, self.go_on, self.exchanged = (directory / name for name in ("ready", "go-on", "exchanged"))
        self.job = make_job(
            CRITICAL,
            extra_vars={
                "ready": str(self.ready),
                "go_on": str(self.go_on),
                "exchanged": str(self.exchanged),
                "mark": "98765432",
            },
        )


@pytest.fixture
def critical(make_job: Callable[..., PlaybookJob], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Critical:
    """A job in a critical section."""
    caplog.set_level("INFO")
    return Critical(make_job, tmp_path)


def test_a_cancelled_run_ends_as_cancelled_and_names_its_task(
    supervisor: Supervisor, make_job: Callable[..., PlaybookJob], results: Results, worker: str, tmp_path: Path
) -> None:
    """A cancelled run whose processes end at TERM ends long before its grace of ten minutes, and names the task."""
    ready = tmp_path / "ready"
    supervisor.submit(make_job(POLITE, extra_vars={"ready": str(ready), "mark": "98765431"}))
    wait_for(ready.exists)
    supervisor.cancel(1, grace_s=600)
    result = results.wait()

    assert [] == [*sleepers("98765431"), *marked(worker)]
    assert (RunOutcome.CANCELLED, "It was cancelled; task 'Work' was running") == (result.outcome, result.details)


def test_a_deaf_process_is_killed_after_the_grace(
    supervisor: Supervisor, waiting: Waiting, results: Results, worker: str
) -> None:
    """A process that ignores TERM has the grace of the command, then it is killed with all others."""
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    began = time.monotonic()
    supervisor.cancel(1, grace_s=1.5)
    result = results.wait()

    assert [] == [*waiting.processes(), *marked(worker)]
    assert RunOutcome.CANCELLED is result.outcome
    assert "it began" in text(result)
    assert 1.5 <= time.monotonic() - began


def test_a_grace_of_zero_kills_at_once(supervisor: Supervisor, waiting: Waiting, results: Results, worker: str) -> None:
    """Without a grace nothing is asked first."""
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    supervisor.cancel(1, grace_s=0)

    assert RunOutcome.CANCELLED is results.wait().outcome
    assert [] == [*waiting.processes(), *marked(worker)]


def test_a_run_that_is_cancelled_before_it_begins_starts_no_playbook(
    supervisor: Supervisor, make_job: Callable[..., PlaybookJob], results: Results, tmp_path: Path
) -> None:
    """A cancel right after the submit leaves the site alone, or stops what has begun: nothing goes on in any case."""
    ready = tmp_path / "ready"
    supervisor.submit(make_job(POLITE, extra_vars={"ready": str(ready), "mark": "98765430"}))
    supervisor.cancel(1, grace_s=5)

    assert RunOutcome.CANCELLED is results.wait().outcome
    assert not ready.exists()


def test_a_critical_section_ends_before_the_run_is_stopped(
    supervisor: Supervisor, critical: Critical, results: Results, worker: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A playbook in a critical section is stopped when the section has ended, not within it, whatever the grace."""
    supervisor.submit(critical.job)
    wait_for(critical.ready.exists)
    supervisor.cancel(1, grace_s=0)
    supervisor.cancel(1, grace_s=0)
    wait_for(lambda: IN_SECTION in caplog.text)
    assert [] == results.find(1)
    critical.go_on.touch()
    result = results.wait()

    assert critical.exchanged.exists()
    assert RunOutcome.CANCELLED is result.outcome
    assert [] == marked(worker)


def test_a_critical_section_is_not_waited_for_for_ever(
    supervisor: Supervisor, critical: Critical, results: Results, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A critical section that does not end is stopped all the same, 600 s after the cancel."""
    monkeypatch.setattr(run_session, "CRITICAL_SECTION_S", 1.0)
    supervisor.submit(critical.job)
    wait_for(critical.ready.exists)
    began = time.monotonic()
    supervisor.cancel(1, grace_s=0)
    result = results.wait()

    assert 1.0 <= time.monotonic() - began
    assert (RunOutcome.CANCELLED, False) == (result.outcome, critical.exchanged.exists())
    assert [] == marked(worker)


def test_a_critical_section_does_not_outlive_the_lease(
    supervisor: Supervisor, critical: Critical, results: Results, worker: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose lease is lost, or whose worker ends, is stopped at once: another worker may have the site soon."""
    supervisor.submit(critical.job)
    wait_for(critical.ready.exists)
    supervisor.cancel(1, grace_s=0)
    wait_for(lambda: IN_SECTION in caplog.text)
    supervisor.stop_run(1, "its lease could not be renewed")
    result = results.wait()

    assert (RunOutcome.CANCELLED, False) == (result.outcome, critical.exchanged.exists())
    assert [] == marked(worker)


def test_a_playbook_that_ends_in_its_critical_section_keeps_its_end(
    supervisor: Supervisor,
    make_job: Callable[..., PlaybookJob],
    results: Results,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A playbook that succeeds while its critical section is waited for has succeeded."""
    caplog.set_level("INFO")
    critical = Critical(lambda content, **fields: make_job(content.split("    - name: End")[0], **fields), tmp_path)
    supervisor.submit(critical.job)
    wait_for(critical.ready.exists)
    supervisor.cancel(1, grace_s=0)
    wait_for(lambda: IN_SECTION in caplog.text)
    critical.go_on.touch()

    assert RunOutcome.SUCCEEDED is results.wait().outcome
