"""Playbooks leave the cores to what answers callers."""

from __future__ import annotations

import os
from collections.abc import Callable

from runner.ansible_installation import AnsibleInstallation
from runner.processes import marked, templates
from runner.supervisor import Supervisor
from tests.integration.runner.run_watch import Waiting


def test_processes_of_runs_are_nice(make_supervisor: Callable[..., Supervisor], waiting: Waiting, worker: str) -> None:
    """Every process of a run, and the one that runs are forked from, has at least the niceness that is set."""
    wanted = os.nice(0) + 4
    supervisor = make_supervisor(stop_grace_s=2.0, ansible=AnsibleInstallation(niceness=wanted))
    supervisor.submit(waiting.job)
    waiting.wait_until_running()

    found = [*marked(worker), *templates(worker), *waiting.processes()]

    assert {wanted} == {process.nice() for process in found}
    assert os.nice(0) < wanted
