"""Rules of the lines between supervisor and child, and of what ansible-runner is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.interface import PlaybookJob
from runner.playbook import runner_arguments
from runner.private_dir import PrivateDir
from runner.progress import Progress
from runner.protocol import (
    Accepted,
    Announced,
    Ended,
    Order,
    Output,
    OutputPreview,
    OutputTail,
    Ping,
    Report,
    Stop,
    decode_order,
    decode_report,
    encode,
)
from statemachine.problems import failure
from statemachine.states import RunOutcome

START = PlaybookJob(
    run_id=1,
    deadline_s=1.0,
    playbook=Path("/p.yml"),
    host="h",
    host_vars={"a": 1},
    secrets={"p": "hush"},
    extra_vars={"b": [None]},
)


@pytest.mark.parametrize("order", [START, Ping(), Stop(grace_s=2.5)])
def test_orders_survive_the_pipe(order: Order) -> None:
    """An order is one line and is read back equal."""
    line = encode(order)

    assert 1 == line.count(b"\n")
    assert order == decode_order(line)


@pytest.mark.parametrize(
    "report",
    [
        Accepted(),
        Announced(transfer_bytes=1 << 40),
        Output(text="a\nb\ud800"),
        OutputPreview(at_bytes=7, text="a\n"),
        OutputTail(text="z"),
        Progress(play="p", task="t", tasks=2, results={"ok": 1}),
        Ended(outcome=RunOutcome.FAILED, details="d", facts={"x": 1}, left_out_at_bytes=3, left_out_bytes=4),
        Ended(outcome=RunOutcome.FAILED, details="d", facts={}, failure=failure("d", task="t")),
    ],
)
def test_reports_survive_the_pipe(report: Report) -> None:
    """A report is one line and is read back equal."""
    line = encode(report)

    assert 1 == line.count(b"\n")
    assert report == decode_report(line)


def test_secrets_are_not_shown() -> None:
    """The text form of an order, as in a traceback, holds no secret."""
    assert "hush" not in repr(START)


def test_ansible_runner_gets_no_wall_clock_limit_and_no_secret(tmp_path: Path) -> None:
    """None of ansible-runner's own limits (wall clock) is set, and none of its ways to pass secrets is used."""
    arguments = runner_arguments(START, PrivateDir(tmp_path), ["hosts"], Path("/opt/a b/ansible-playbook"))

    assert {"timeout", "passwords", "extravars", "envvars", "suppress_env_files"}.isdisjoint(arguments)
    assert {"job_timeout", "idle_timeout"}.isdisjoint(arguments["settings"])
    assert "hush" not in str(arguments)
