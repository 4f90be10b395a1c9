"""What the tests of forked runs share: playbooks, the template process, and the count of plain starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import psutil

from runner.ansible_installation import AnsibleInstallation
from runner.interface import PlaybookJob
from runner.processes import TEMPLATE_OPTION, marked
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, text

MakeJob = Callable[..., PlaybookJob]
MakeSupervisor = Callable[..., Supervisor]

OUR_CONFIG: Final = AnsibleInstallation().config
SHOW = """
- hosts: all
  gather_facts: false
  tasks:
    - debug:
        msg: "{{ %s }}"
"""
HELLO = SHOW % "'hello ' ~ inventory_hostname"


class Plain:
    """Counts the children that could not be forked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Count one: this is the `on_plain_start` callback."""
        self.count += 1


def template_of(worker: str) -> psutil.Process:
    """Return the youngest process from which runs of `worker` are forked."""
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if (arguments := process.info["cmdline"] or []) and TEMPLATE_OPTION in arguments and worker in arguments
    ]
    forked = {process.pid for process in marked(worker)}
    return max((process for process in found if process.pid not in forked), key=psutil.Process.create_time)


def run(supervisor: Supervisor, results: Results, job: PlaybookJob) -> str:
    """Run a job that succeeds and return its output."""
    supervisor.submit(job)
    result = results.wait(job.run_id)
    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details), text(result)
    return text(result)
