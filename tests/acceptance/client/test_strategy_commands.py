"""`prestager strategy …` against a running service."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from db.tokens import Role
from tests.support.operator_shell import OperatorShell
from tests.support.service_process import ServiceProcess

PASSWORD = "Li69nux*\n"


def test_a_strategy_from_its_creation_to_its_end(shell: OperatorShell) -> None:
    """Create, apply and watch end with 3 where a site failed; steps and history say which and how many."""
    created = shell.strategy("create", "-o", "json", stdin=PASSWORD)
    assert (0, "initial") == (created.code, created.json["state"]), created.err
    number = created.json["id"]
    assert f"Strategy {number} is created. Start it: prestager strategy apply" in created.err

    ended = shell.strategy("apply", "--watch", "-o", "json")

    assert (3, "failed") == (ended.code, ended.json["state"])
    assert f"Strategy {number} failed: 3 of 3 ended; complete 2, failed 1" in ended.err
    assert "Why sites failed: prestager strategy steps --state failed" in ended.err
    failed = shell.strategy("steps", "--state", "failed", "-o", "name")
    assert (0, "broken\n") == (failed.code, failed.out)
    (problem,) = shell.strategy("problems", "-o", "json").json
    assert (1, ["broken"], "prestaging-packages") == (problem["count"], problem["clouds"], problem["phase"])
    assert problem["advice"].endswith(".")
    assert problem["id"] in shell.strategy("problems", str(number)).out
    table = shell.strategy("steps").out.splitlines()
    assert ["SITE", "STAGE", "STATE"] == table[0].split()[:3]
    assert {"broken", "edge-1", "edge-2"} == {line.split()[0] for line in table[1:]}
    rows = list(csv.DictReader(io.StringIO(shell.strategy("history", "--limit", "1", "-o", "csv").out)))
    assert [(str(number), "failed")] == [(row["id"], row["state"]) for row in rows]
    assert f"strategy          {number}\n" in shell.strategy("show", str(number)).out
    assert 3 == shell.strategy("watch").code


def test_create_and_apply_at_once(shell: OperatorShell, tmp_path: Path) -> None:
    """One command stages one site, with the password from a file; 0 says that it is complete."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)

    done = shell.strategy(
        "create", "--subcloud", "edge-1", "--password-file", str(file), "--apply", "--watch", "-o", "jsonl"
    )

    assert 0 == done.code, done.err
    assert ("complete", {"complete": 1}) == (done.json["state"], done.json["steps"])


def test_options_of_create(shell: OperatorShell) -> None:
    """Group, width, apply type, reason and failure rule are those of the strategy."""
    options = ["--group", "Default", "--serial", "--max-parallel", "7", "--stop-on-failure", "--force"]
    made = shell.strategy("create", *options, "--release", "23.09", "-o", "json", stdin=PASSWORD)

    assert 0 == made.code, made.err
    found = made.json
    assert ("serial", 7, True) == (
        found["subcloud-apply-type"],
        found["max-parallel-subclouds"],
        found["stop-on-failure"],
    )
    assert {"force": True, "prestage-software-version": "23.09", "for_sw_deploy": False} == found["extra-args"]


def test_options_of_a_rollout(shell: OperatorShell) -> None:
    """Each option that limits a strategy is that of the API; `set` changes it, and `none` takes it away."""
    options = ["--mode", "window", "--order", "longest-first", "--max-parallel", "2", "--ramp-start", "1"]
    options += ["--max-failures", "50%", "--on-budget", "stop", "--on-prepare-failure", "pause"]
    made = shell.strategy("create", *options, "--time-limit", "packages=60", "-o", "json", stdin=PASSWORD)

    assert 0 == made.code, made.err
    assert made.json["rollout"] == {
        "mode": "window",
        "order": "longest-first",
        "ramp": {"start": 1},
        "max-failures": "50%",
        "on-budget": "stop",
        "on-prepare-failure": "pause",
        "timeouts": {"packages-s": 60},
    }
    assert "mode window, order longest-first, on-budget stop" in shell.strategy("show").out
    changes = ["--ramp-start", "none", "--max-failures", "2", "--on-budget", "pause", "--on-prepare-failure", "fail"]
    changes += ["--time-limit", "packages=none", "--time-limit", "strategy=600", "--on-strategy-limit", "cancel"]
    changed = shell.strategy("set", *changes, "-o", "json")
    assert 0 == changed.code, changed.err
    rollout = changed.json["rollout"]
    assert "ramp" not in rollout
    assert (2, "pause", "fail") == (rollout["max-failures"], rollout["on-budget"], rollout["on-prepare-failure"])
    assert (600, "cancel") == (rollout["timeouts"]["strategy-s"], rollout["timeouts"]["on-strategy-limit"])
    assert "packages-s" not in rollout["timeouts"]
    wrong = shell.strategy("set", "--on-budget", "wait")
    assert (2, True) == (wrong.code, "'pause', 'stop'" in wrong.err), wrong.err


def broken_second(shell: OperatorShell) -> None:
    """Put the broken site before all others but the one for which the packages are prepared."""
    for site in ("broken", "edge-1"):
        assert 0 == shell.step("first", site).code


def test_a_failure_budget(shell: OperatorShell) -> None:
    """A strategy over its budget is held; `resume` alone is refused with the way out, `--allow-failures` goes on."""
    shell.strategy("create", "--mode", "window", "--max-parallel", "1", "--max-failures", "0", stdin=PASSWORD)
    broken_second(shell)

    held = shell.strategy("apply", "--watch", "--exit-on-hold")

    assert 4 == held.code, held.err
    assert "broken: failed: " in held.err
    assert "held by budget since" in held.err
    assert "complete 1, failed 1, not-started 1" in held.out
    refused = shell.strategy("resume")
    assert (1, True) == (refused.code, "allow-failures" in refused.err), refused.err
    resumed = shell.strategy("resume", "--allow-failures", "0", "--watch", "-o", "json")
    assert 3 == resumed.code, resumed.err
    assert {"complete": 2, "failed": 1} == resumed.json["steps"]


def test_a_budget_that_stops(shell: OperatorShell) -> None:
    """With `--on-budget stop` a strategy over its budget ends; sites that have not started are left so."""
    options = ["--mode", "window", "--max-parallel", "1", "--max-failures", "0", "--on-budget", "stop"]
    shell.strategy("create", *options, stdin=PASSWORD)
    broken_second(shell)

    ended = shell.strategy("apply", "--watch", "-o", "json")

    assert (3, "failed") == (ended.code, ended.json["state"]), ended.err
    assert {"initial": 1, "complete": 1, "failed": 1} == ended.json["steps"]


def test_abort_and_delete_ask(shell: OperatorShell) -> None:
    """Without a terminal and `--yes` abort and delete change nothing, and name what they would touch."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)
    asked = shell.strategy("delete")
    assert 2 == asked.code
    assert "(23.09 on 1 site, initial)" in asked.err
    assert "Give --yes" in asked.err
    assert "initial\n" in shell.strategy("show").out

    refused = shell.strategy("abort", "--yes")

    assert 1 == refused.code
    assert "Strategy in state initial cannot be aborted." in refused.err
    deleted = shell.strategy("delete", "--yes", "-o", "json")
    assert (0, "deleting") == (deleted.code, deleted.json["state"])
    gone = shell.strategy("show")
    assert 1 == gone.code
    assert gone.err.startswith("Error: There is no strategy. Create one: prestager strategy create;")


def test_time_is_up(shell: OperatorShell) -> None:
    """A watch ends with 5 at its time limit; the strategy is as before."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)

    watched = shell.strategy("watch", "--timeout", "0")

    assert 5 == watched.code
    assert "is initial after 0 s; it goes on." in watched.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("create", "--subcloud", "nowhere"), 1, "Subcloud nowhere does not exist"),
        (("create", "--group", "nowhere"), 1, "Invalid group_id."),
        (("create", "--watch"), 2, "--watch needs --apply"),
        (("create", "--max-parallel", "x"), 2, "must be a whole number"),
        (("create", "--password-file", "/nowhere"), 2, "The password cannot be read from /nowhere: No such file"),
        (("apply",), 1, "Strategy with type prestage doesn't exist."),
        (("show", "99999"), 1, "Strategy not found."),
        (("steps", "--server", "http://127.0.0.1:1"), 6, "http://127.0.0.1:1 does not answer: Connection refused."),
        (("steps", "--server", "http://no.such.invalid"), 6, "http://no.such.invalid cannot be found"),
    ],
)
def test_refusals(shell: OperatorShell, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    """What is wrong is one sentence on standard error, with the exit code of its kind, and the only output."""
    ended = shell.strategy(*arguments, stdin=PASSWORD)

    assert (code, "") == (ended.code, ended.out)
    assert ended.err.startswith("Error: ")
    assert sentence in ended.err
    assert 1 == len(ended.err.splitlines())


def test_an_empty_password(shell: OperatorShell) -> None:
    """Without a password nothing is sent, and the three ways to give one are named."""
    ended = shell.strategy("create")

    assert 2 == ended.code
    assert "--password-file" in ended.err
    assert 1 == shell.strategy("show").code


def test_another_token(shell: OperatorShell, service: ServiceProcess, tmp_path: Path) -> None:
    """A wrong token, and one whose role does not suffice, are refused with the remedy, and never printed."""
    token = service.token_of(f"reader-{tmp_path.name}", Role.READER)
    file = tmp_path / "token"
    file.write_text(token)
    reader = shell.strategy("create", stdin=PASSWORD)
    file.write_text("wrong-token")
    wrong = shell.strategy("show")

    assert (1, 1) == (reader.code, wrong.code)
    assert "Ask for a token whose role may do this" in reader.err
    assert "prestager token create" in wrong.err
    assert token not in reader.err
    assert "wrong-token" not in wrong.err


def test_a_saved_context(service: ServiceProcess, tmp_path: Path) -> None:
    """`token create --save-context` is all that an operator on the controller needs; the token is printed nowhere."""
    service.environment["HOME"] = str(tmp_path)
    made = service.command("token", "create", f"alice-{tmp_path.name}", "--role", "reader", "--save-context")
    shell = OperatorShell(tmp_path, "", "")
    del shell.environment["PRESTAGER_URL"], shell.environment["PRESTAGER_TOKEN_FILE"]

    listed = shell.strategy("history", "-o", "json")

    assert 0 == listed.code, listed.err
    assert isinstance(json.loads(listed.out), list)
    token = (tmp_path / ".config/prestager/client.toml").read_text().split('token = "')[1].partition('"')[0]
    assert len(token) > 20
    assert token not in made
