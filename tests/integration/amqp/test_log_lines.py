"""What the log says of each run: all ids, in worker and coordinator alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from db.schema import runs
from messages.commands import CommandType
from runner.fake import FakeRunEnd
from statemachine.states import RunOutcome
from tests.integration.amqp.test_amqp_traces import is_over, traced
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import Installation, StartedInstallation
from tests.support.otlp_collector import Collector
from tests.support.waiting import wait_for
from tracing.tracer import add_context

SITES = ("edge-1", "edge-2", "edge-3")
OF_RUN = {"run", "strategy", "step", "subcloud", "phase", "attempt"}


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Give the lines of the log as they come, with what is bound."""
    said: list[dict[str, Any]] = []

    def keep(_: object, __: str, line: dict[str, Any]) -> dict[str, Any]:
        said.append(dict(line))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[add_context, keep])
    yield said
    structlog.configure(**before)


def run_strategy(installation: StartedInstallation) -> None:
    """Bring all sites through a strategy."""
    for name in SITES:
        installation.add_site(name)
    installation.create()
    installation.verb("apply")
    wait_for(lambda: is_over(installation))
    installation.stop()


def test_every_line_about_a_run_has_all_its_ids(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    """And those of no other run, though threads work on many in turn; lines of a command name it."""
    fails = FakeRunEnd(outcome=RunOutcome.FAILED, details="no space left")
    playbooks = FakePlaybooks(lambda job: fails if job.host == "edge-2" else FakeRunEnd(delay_s=0.002))
    installation = Installation.embedded(tmp_path, playbooks=playbooks)
    run_strategy(installation)
    stored = {row["id"]: row for row in installation.rows(runs)}
    site_of = {installation.step(name)["id"]: name for name in SITES}

    about_runs = [line for line in lines if "run" in line]
    assert {"run.ended", "step.prestage.prestaging-packages", "step.prestage.complete", "step.prestage.failed"} <= {
        line["event"] for line in about_runs
    }
    # A preparation that went well is no news; the steps that wait for it tell.
    told = {run_id for run_id, row in stored.items() if row["phase"] != "prestage-prepare"}
    assert told == {line["run"] for line in about_runs}
    for line in about_runs:
        row = stored[line["run"]]
        assert OF_RUN <= line.keys(), line
        assert (row["phase"], row["attempt"]) == (line["phase"], line["attempt"])
        assert site_of[line["step"]] == line["subcloud"]
        assert row["step_id"] in {line["step"], None}
        assert "trace" not in line
    (applied,) = [line for line in lines if line["event"] == "command.answered" and line["type"] == "strategy.apply"]
    assert applied["strategy"] == about_runs[0]["strategy"]
    begun = [line for line in lines if line["event"] == "strategy.prestage.applying"]
    assert [applied["command"]] == [line["command"] for line in begun]
    ended = [line for line in lines if line["event"] == "strategy.prestage.failed"]
    assert [False] == ["command" in line for line in ended]


def test_lines_about_a_run_name_the_trace_of_its_phase(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    """So that whoever reads one finds the phase's trace, also from a coordinator that is about something else."""
    with Collector() as collector:
        installation = Installation.embedded(tmp_path, **traced(collector))
        run_strategy(installation)
        installation.process.tracer.stop()
        stored = {row["id"]: row for row in installation.rows(runs)}

    about_runs = [line for line in lines if "run" in line]
    assert {run_id for run_id, row in stored.items() if row["phase"] != "prestage-prepare"} == {
        line["run"] for line in about_runs
    }
    for line in about_runs:
        assert stored[line["run"]]["trace"][3:35] == line["trace"], line
    (applied,) = [line for line in lines if line["event"] == "command.answered" and line["type"] == "strategy.apply"]
    (execute,) = collector.named(f"execute {CommandType.STRATEGY_APPLY}")
    assert (execute.trace, execute.id) == (applied["trace"], applied["span"])
