"""A playbook in a trace: its tasks are timed, and it knows where it is."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from runner.interface import PlaybookJob
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results
from tracing.tracer import LogContext, add_context

HERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: "Tell {{ ansible_ssh_pass }}", set_stats: {data: {here: "{{ lookup('env', 'TRACEPARENT') }}"}}}
    - {name: Pass over, command: "true", when: false}
    - {name: Break, fail: {msg: enough}, ignore_errors: true}
"""


def test_a_traced_run_tells_its_tasks(
    supervisor: Supervisor, make_job: Callable[..., PlaybookJob], results: Results
) -> None:
    """Names are masked, times follow each other, and TRACEPARENT is in the playbook's environment."""
    supervisor.submit(make_job(PLAYBOOK, traceparent=HERE, secrets={"ansible_ssh_pass": "hush-2f7c"}))
    result = results.wait()

    assert RunOutcome.SUCCEEDED == result.outcome, result.details
    assert {"here": HERE} == result.facts
    names = [(task.name, str(task.result)) for task in result.tasks]
    assert [("Pass over", "skipped"), ("Break", "failed")] == names[1:]
    assert "ok" == names[0][1]
    assert "hush" not in names[0][0]
    moments = [moment for task in result.tasks for moment in (task.began_at, task.ended_at)]
    assert sorted(moments) == moments


def test_lines_of_the_supervisor_say_whose_run_it_is(
    supervisor: Supervisor,
    make_job: Callable[..., PlaybookJob],
    results: Results,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What whoever submits a job has bound is bound where the run is hosted, and nowhere else."""
    said: list[dict[str, object]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(dict(add_context(None, "", {})))

    async def broken(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("runner.run_session.RunSession._host", broken)
    log, handler = logging.getLogger("runner.run_session"), Keep()
    log.addHandler(handler)
    for number in (1, 2):
        with LogContext({"run": number, "subcloud": f"s{number}"}):
            supervisor.submit(make_job(PLAYBOOK, run_id=number))
        results.wait(number)
    log.removeHandler(handler)

    assert [{"run": 1, "subcloud": "s1"}, {"run": 2, "subcloud": "s2"}] == said
