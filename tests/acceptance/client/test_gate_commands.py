"""`prestager strategy approve` and `deny`, and the canary of `create` with its soak time and its gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from db.tokens import Role
from tests.support.operator_shell import OperatorShell
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

PASSWORD = "Li69nux*\n"
# What the service adds to the stages of a request.
COUNTED = ("stage", "sites", "passed-at")
CANARY = ("--subcloud", "edge-1", "--subcloud", "edge-2", "--canary", "1")


@pytest.fixture(scope="module")
def second_token(service: ServiceProcess) -> str:
    """The token of another person than the one who creates strategies."""
    return service.token_of("carol", Role.CONFIGURATOR)


@pytest.fixture
def carol(service: ServiceProcess, second_token: str, tmp_path: Path) -> OperatorShell:
    """The shell of that person."""
    home = tmp_path / "carol"
    home.mkdir()
    return OperatorShell(home, f"http://127.0.0.1:{service.port}", second_token)


def apply_until_held(shell: OperatorShell, *options: str) -> dict[str, Any]:
    """Apply a strategy with a canary, and follow it until its gate holds it; return it."""
    made = shell.strategy("create", *CANARY, *options, "--apply", stdin=PASSWORD)
    assert 0 == made.code, made.err
    found: dict[str, Any] = {}

    def is_gated() -> bool:
        found.update(shell.strategy("show", "-o", "json").json)
        return [one["kind"] for one in found["holds"]] == ["gate"]

    wait_for(is_gated)
    return found


@pytest.mark.parametrize(
    ("canary", "stage"),
    [
        (("2",), {"count": 2, "max-failures": 0}),
        (("40%",), {"percent": 40, "max-failures": 0}),
        (("region=eu,!old",), {"selector": "region=eu,!old", "max-failures": 0}),
        (("1", "--soak", "600"), {"count": 1, "max-failures": 0, "soak-s": 600}),
        (("1", "--gate"), {"count": 1, "max-failures": 0, "gate": "approval"}),
    ],
)
def test_a_canary(shell: OperatorShell, canary: tuple[str, ...], stage: dict[str, Any]) -> None:
    """A canary is a number of sites, a percentage or a selector; none of it may fail, and a window follows it."""
    shown = shell.strategy("preview", "--canary", *canary, "-o", "json")

    assert 0 == shown.code, shown.err
    first = {key: value for key, value in shown.json["rollout"]["stages"][0].items() if key not in COUNTED}
    assert {"name": "canary", **stage} == first
    assert "window" == shown.json["rollout"]["mode"]


def test_a_canary_that_is_wrong(shell: OperatorShell) -> None:
    """A soak time and a gate need a canary, a canary needs a window, and a selector has to be one."""
    alone = shell.strategy("preview", "--gate")
    stages = shell.strategy("preview", "--canary", "1", "--mode", "stages")
    selector = shell.strategy("preview", "--canary", "=x")

    assert (2, True) == (alone.code, "--soak and --gate come after a canary: give --canary too." in alone.err)
    assert "rollout.stages needs rollout.mode window" in stages.err
    assert (1, True) == (selector.code, "selector" in selector.err)


def test_the_preview_shows_it(shell: OperatorShell) -> None:
    """The table of a preview has the stages by name, with what comes after each."""
    table = shell.strategy("preview", *CANARY, "--soak", "600", "--gate").out

    *_, heads, canary, rest = table.splitlines()
    assert ["STAGE", "NAME", "SITES", "MOST", "AT", "ONCE", "SOAKS", "(S)", "THEN", "NAMES"] == heads.split()
    assert ["1", "canary", "1", "2", "600", "approval", "edge-1"] == canary.split()
    assert ["2", "rest", "1", "2", "edge-2"] == rest.split()


def test_an_approval(shell: OperatorShell, carol: OperatorShell) -> None:
    """A canary that ended waits for another person than the creator; approved, the others start."""
    found = apply_until_held(shell, "--soak", "1", "--gate", "--approver", "carol", "--approver", "test")
    assert {"approve", "deny"} <= {*found["commands"]}
    assert (["carol", "test"], "test") == (found["holds"][0]["approvers"], found["holds"][0]["barred"])
    assert "; to be approved by carol" in shell.strategy("show").out

    refused = shell.strategy("approve")
    approved = carol.strategy("approve", "--note", "no errors in an hour")
    ended = shell.strategy("watch", "-o", "json")
    late = carol.strategy("approve")

    assert (1, True) == (refused.code, "make a token per person" in refused.err)
    assert (0, "Stage canary is approved.") == (approved.code, approved.err.strip())
    assert (0, "complete") == (ended.code, ended.json["state"])
    decision = ended.json["rollout"]["stages"][0]["decision"]
    assert ("approved", "carol", "no errors in an hour") == tuple(decision[key] for key in ("verdict", "by", "note"))
    assert (1, True) == (late.code, "Nothing waits for an approval." in late.err)


def test_an_approval_beforehand(shell: OperatorShell, carol: OperatorShell) -> None:
    """A stage is approved by name before it has ended; without a name the error says which there are."""
    made = shell.strategy("create", *CANARY, "--gate", stdin=PASSWORD)
    assert 0 == made.code, made.err

    unnamed = carol.strategy("approve")
    too_early = carol.strategy("approve", "--stage", "canary")

    assert (1, True) == (unnamed.code, "Stages with a gate: canary; name one with --stage" in unnamed.err)
    assert (1, True) == (too_early.code, "Strategy in state initial cannot be approved" in too_early.err)


def test_a_denial(shell: OperatorShell, carol: OperatorShell) -> None:
    """A denial names what it touches, needs `--yes` without a terminal, and aborts with its note on record."""
    apply_until_held(shell, "--gate")

    asked = carol.strategy("deny", "--note", "slow")
    denied = carol.strategy("deny", "--note", "slow", "--yes")
    ended = shell.strategy("watch", "-o", "json")

    assert (2, True) == (asked.code, "1 not started will be left as before" in asked.err)
    assert 0 == denied.code, denied.err
    assert "Stage canary is denied; strategy" in denied.err
    assert (4, "aborted") == (ended.code, ended.json["state"])
    assert "slow" == ended.json["rollout"]["stages"][0]["decision"]["note"]
