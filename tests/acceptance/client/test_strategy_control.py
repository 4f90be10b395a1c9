"""`prestager strategy pause`, `resume`, `set`, `cancel` and `prestager step`, with sites that are worked on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gated_playbooks import Gate, write_gated_playbooks
from tests.support.operator_shell import OperatorShell
from tests.support.service_process import ServiceProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_for

PASSWORD = "Li69nux*\n"
SITES = ("edge-1", "edge-2", "edge-3")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """The gate at which the packages phase of every site waits."""
    return Gate(tmp_path_factory.mktemp("gate") / "open")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[ServiceProcess]:
    """A running service with three sites."""
    directory = tmp_path_factory.mktemp("service")
    write_gated_playbooks(directory / "playbooks")
    service = ServiceProcess.of_local_sites(directory, dict.fromkeys(SITES, gate.variables))
    service.start()
    yield service
    service.end()


@pytest.fixture
def shell(service: ServiceProcess, tmp_path: Path, gate: Gate) -> Iterator[OperatorShell]:
    """A shell that knows the service; the gate is closed, and the strategy that a test leaves is ended."""
    gate.close()
    shell = OperatorShell(tmp_path, f"http://127.0.0.1:{service.port}", service.token)
    yield shell
    gate.open()
    status, strategy = service.get("/v1.0/sw-update-strategy")
    if status == 200:
        if strategy["state"] == "applying":
            shell.strategy("cancel", "--yes", "--watch", "--grace", "0")
        assert shell.strategy("delete", "--yes").code == 0


def states(service: ServiceProcess) -> dict[str, str]:
    """Return the state of each site's step."""
    _, found = service.get("/v1.0/sw-update-strategy/steps")
    return {step["cloud"]: step["state"] for step in found["strategy-steps"]}


def apply_one_by_one(shell: OperatorShell, service: ServiceProcess) -> None:
    """Apply a strategy with one site at a time, and wait until the first one is worked on."""
    shell.strategy("create", "--serial", stdin=PASSWORD)
    assert shell.strategy("apply").code == 0
    wait_for(lambda: states(service)["edge-1"] == "prestaging-packages", story=service.tail)


def test_pause_and_resume(shell: OperatorShell, service: ServiceProcess, gate: Gate) -> None:
    """A held strategy starts no site and says who holds it and why; resumed it goes on to its end."""
    apply_one_by_one(shell, service)

    paused = shell.strategy("pause", "--reason", "storm at the sites", "-o", "json")

    assert paused.code == 0, paused.err
    (hold,) = paused.json["holds"]
    assert (hold["kind"], hold["scope"], hold["by"], hold["reason"]) == (
        "operator",
        "starts",
        "test",
        "storm at the sites",
    )
    assert "resume" in paused.json["commands"]
    held = shell.strategy("watch", "--exit-on-hold")
    assert held.code == 4
    assert "held by operator test since" in held.err
    assert ": storm at the sites (starts)" in held.out
    gate.open()
    wait_for(lambda: states(service)["edge-1"] == "complete", story=service.tail)
    assert states(service) == {"edge-1": "complete", "edge-2": "initial", "edge-3": "initial"}
    resumed = shell.strategy("resume", "--watch", "-o", "json")
    assert (resumed.code, resumed.json["state"], resumed.json["holds"]) == (0, "complete", []), resumed.err


def test_a_wider_pause_and_a_new_password(shell: OperatorShell, service: ServiceProcess, gate: Gate) -> None:
    """`--scope phases` widens a hold; `resume` takes a new password for the rest, which is in no output."""
    apply_one_by_one(shell, service)
    shell.strategy("pause")

    wider = shell.strategy("pause", "--scope", "phases", "-o", "json")

    assert [hold["scope"] for hold in wider.json["holds"]] == ["phases"]
    gate.open()
    resumed = shell.strategy("resume", "--password-file", "-", "--watch", stdin="N3w*Password\n")
    assert resumed.code == 0, resumed.err
    assert "The password was replaced." in resumed.err
    assert "N3w*Password" not in resumed.out + resumed.err


def test_a_watch_over_a_broken_connection(shell: OperatorShell, service: ServiceProcess, gate: Gate) -> None:
    """A watch says as it happens which site was cancelled in which phase, also after its connection broke off.

    What it says once it does not say again.
    """
    apply_one_by_one(shell, service)
    with TcpProxy(service.port) as proxy:
        watch = shell.start("strategy", "watch", "--server", f"http://127.0.0.1:{proxy.port}", "-o", "json")
        assert watch.stderr is not None
        assert "applying: 0 of 3 ended; running 1, not-started 2" in watch.stderr.readline()
        shell.step("cancel", "edge-1", "--grace", "0", "--yes")
        said = iter(watch.stderr.readline, "")
        assert any(line.startswith("edge-1: cancelled in prestaging-packages by test") for line in said)
        wait_for(lambda: states(service)["edge-2"] == "prestaging-packages", story=service.tail)
        proxy.reset()
        shell.step("cancel", "edge-2", "--grace", "0", "--yes")
        wait_for(lambda: states(service)["edge-2"] == "aborted", story=service.tail)
        proxy.pass_on()
        gate.open()
        out, err = watch.communicate(timeout=120)

    assert watch.returncode == 4, err
    assert '"state": "aborted"' in out
    assert "edge-2: cancelled in prestaging-packages by test" in err
    assert "edge-1" not in err


def test_cancel(shell: OperatorShell, service: ServiceProcess) -> None:
    """Cancel names what it stops, needs `--yes` where there is no terminal, and ends the site that is worked on."""
    apply_one_by_one(shell, service)
    asked = shell.strategy("cancel")
    assert asked.code == 2
    assert "on 3 sites, applying)? 1 site being worked on will be stopped, 2 not started." in asked.err

    cancelled = shell.strategy("cancel", "--grace", "0", "--yes", "--watch", "-o", "json")

    assert (cancelled.code, cancelled.json["state"]) == (4, "aborted"), cancelled.err
    assert cancelled.json["steps"] == {"aborted": 3}


def test_refused_in_the_wrong_state(shell: OperatorShell) -> None:
    """A strategy that is not applied can be neither held nor cancelled; nothing is changed."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)

    for command in (["pause"], ["resume"], ["cancel", "--yes"]):
        refused = shell.strategy(*command)
        assert (refused.code, "Strategy in state initial cannot be" in refused.err) == (1, True), refused.err
    assert shell.strategy("show", "-o", "json").json["state"] == "initial"


def test_a_limited_rollout(shell: OperatorShell, service: ServiceProcess, gate: Gate) -> None:
    """Options of create and `set` are those of the strategy; single sites are put first, held, resumed, cancelled."""
    options = ["--mode", "window", "--max-parallel", "1", "--max-failures", "10%", "--time-limit", "site=3600"]
    created = shell.strategy("create", *options, "-o", "json", stdin=PASSWORD)
    assert created.code == 0, created.err
    assert created.json["rollout"] | {"mode": "window", "max-failures": "10%"} == created.json["rollout"]
    assert created.json["rollout"]["timeouts"] == {"site-s": 3600}
    shell.strategy("apply")
    wait_for(lambda: states(service)["edge-1"] == "prestaging-packages", story=service.tail)

    assert shell.step("first", "edge-3").code == 0
    held = shell.step("hold", "edge-2", "--reason", "no power", "-o", "json")
    assert (held.code, held.json["held"]["reason"]) == (0, "no power"), held.err
    assert ": no power (phases)" in shell.step("show", "edge-2").out
    changed = shell.strategy("set", "--max-parallel", "3", "--max-failures", "none", "-o", "json")
    assert (changed.code, changed.json["max-parallel-subclouds"]) == (0, 3), changed.err
    assert "max-failures" not in changed.json["rollout"]
    wait_for(lambda: states(service)["edge-3"] == "prestaging-packages", story=service.tail)
    assert states(service)["edge-2"] == "initial"

    asked = shell.step("cancel", "edge-1")
    assert (asked.code, "Cancel the work on edge-1?" in asked.err) == (2, True)
    assert shell.step("cancel", "edge-1", "--grace", "0", "--yes").code == 0
    wait_for(lambda: states(service)["edge-1"] == "aborted", story=service.tail)
    late = shell.step("cancel", "edge-1", "--yes")
    assert (late.code, "had ended already" in late.err) == (0, True)
    assert shell.step("resume", "edge-2").code == 0
    gate.open()
    ended = shell.strategy("watch", "-o", "json")
    assert (ended.code, ended.json["steps"]) == (4, {"aborted": 1, "complete": 2}), ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("strategy", "set"), 2, "Nothing to change: give at least one option."),
        (("strategy", "set", "--time-limit", "sites=1"), 2, "has not the form WHAT=SECONDS"),
        (("strategy", "set", "--max-failures", "many"), 1, 'such as "10%", got '),
        (("strategy", "set", "--max-parallel", "2"), 1, "the width of stages is fixed at create."),
        (("step", "hold", "nowhere"), 1, "tep not found."),
        (("step", "first", "edge-1"), 1, "its strategy goes by stages"),
    ],
)
def test_refused_changes(shell: OperatorShell, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    """What is wrong with a change is one sentence, and nothing is changed."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)

    refused = shell.run(*arguments)

    assert (refused.code, sentence in refused.err) == (code, True), refused.err


def test_retry_of_one_site(shell: OperatorShell, service: ServiceProcess) -> None:
    """A cancelled site is retried while its strategy goes on; one that has not ended is not."""
    apply_one_by_one(shell, service)
    assert shell.run("step", "cancel", "edge-2", "--yes").code == 0

    retried = shell.run("step", "retry", "edge-2", "-o", "json")

    assert retried.code == 0, retried.err
    assert ("initial", 2, None) == tuple(retried.json[key] for key in ("state", "series", "outcome"))
    refused = shell.run("step", "retry", "edge-2")
    assert (1, True) == (refused.code, "only failed and cancelled ones are" in refused.err)
