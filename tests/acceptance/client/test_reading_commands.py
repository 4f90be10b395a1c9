"""Commands that only look: status, sites, groups, events, logs, processes, versions."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.cpu_time import times_an_empty_program
from tests.support.operator_shell import OperatorShell
from tests.support.waiting import wait_for

PASSWORD = "Li69nux*"
PRESTAGER = str(Path(sys.executable).with_name("prestager"))
WANTED = 30
MARGIN = 1.5


def test_a_run_that_fails(shell: OperatorShell) -> None:
    """Status, events and the log of a site tell the same failure, and what to do next."""
    empty = shell.run("status")
    shell.strategy("create", stdin=PASSWORD)
    created = shell.run("status")
    ended = shell.strategy("apply", "--watch")
    status = shell.run("status")
    found = shell.run("events", "--type", "step.prestage.failed", "-o", "json", "--limit", "1000")
    log = shell.run("step", "log", "broken")

    assert "There is no strategy" in empty.out
    assert "prestager strategy apply --watch" in created.out
    assert (3, 0) == (ended.code, status.code)
    assert "FAILED" in status.out
    assert "Failures (1)" in status.out
    assert "prestager step explain broken" in status.out
    assert "broken" in {event["data"]["subcloud"] for event in found.json}
    assert "=== prestage-prepare" in log.out
    assert shell.run("status", "-o", "json").json["strategy"]["state"] == "failed"
    runs = shell.step("runs", "broken", "-o", "json").json
    failed = next(run for run in runs if run["outcome"] == "failed")
    assert failed["details"] in status.out or failed["details"] in shell.step("show", "broken", "-o", "csv").out
    assert shell.step("log", "--run", str(failed["id"])).code == 0
    assert shell.step("log", "broken", "--run", "1").code == 2
    assert shell.step("log").code == 2
    audit = shell.run("audit", "--type", "strategy.apply", "-o", "json").json
    assert ("test", 200) == (audit[0]["caller"], audit[0]["status"])


def night_commands() -> list[list[str]]:
    """Return the commands of the table of questions at night, in order."""
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    section = text.partition("## Ten questions at night")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [shlex.split(one)[1:] for line in rows for one in re.findall(r"`(prestager [^`]+)`", line)]


def test_ten_questions_at_night(shell: OperatorShell) -> None:
    """Every command of the table in docs/operations.md does what it says, against a running service."""
    shell.strategy("create", "--mode", "window", "--max-parallel", "1", stdin=PASSWORD)
    shell.strategy("apply", "--watch")
    failed = shell.strategy("problems", "-o", "name").out.split()
    number = shell.strategy("show", "-o", "name").out.strip()
    places = {"SITE": "broken", "PROBLEM": failed[0], "ID": number}
    commands = [[places.get(word, word) for word in one] for one in night_commands()]
    # Only before the end of a strategy.
    at_work = ("first", "pause", "resume", "cancel", "abort")
    codes = {}
    for words in commands:
        if not set(at_work) & set(words):
            ended = shell.run(*words, stdin=PASSWORD)
            codes[" ".join(words)] = (ended.code, ended.err if ended.code else "")
    shell.strategy("cancel", "--yes", "--watch", "--grace", "0")
    shell.strategy("delete", "--yes")
    for last in ("cancel", "abort"):
        shell.strategy("create", "--mode", "window", "--max-parallel", "1", stdin=PASSWORD)
        # Nothing starts, so that it is at work until it is ended.
        for site in ("edge-1", "edge-2", "broken"):
            shell.step("hold", site)
        shell.strategy("apply")
        for words in [*(one for one in commands if set(at_work[:3]) & set(one)), ["strategy", last, "--yes"]]:
            ended = shell.run(*words)
            codes[" ".join(words)] = (ended.code, ended.err if ended.code else "")
        shell.strategy("watch")
        shell.strategy("delete", "--yes")

    assert len(night_commands()) == 14
    assert set(codes.values()) == {(0, "")}, codes


def test_status_that_watches_ends(shell: OperatorShell) -> None:
    """`status --watch` ends with the strategy."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)
    shell.strategy("apply")
    watched = shell.run("status", "--watch")

    assert (0, True) == (watched.code, "COMPLETE" in watched.out)


def test_sites_and_groups(shell: OperatorShell) -> None:
    """Sites are listed by name and group, and a group is changed; a change of nothing is refused."""
    assert shell.run("subcloud", "list", "--subcloud", "edge-*", "-o", "name").out.split() == ["edge-1", "edge-2"]
    groups = shell.run("group", "list", "-o", "json").json
    counted = {one["name"]: one["subcloud_count"] for one in groups}
    name = max(counted, key=counted.__getitem__)
    changed = shell.run("group", "set", name, "--description", "night", "-o", "json")
    refused = shell.run("group", "set", name)

    assert sum(counted.values()) == 3
    assert "night" == shell.run("group", "show", name, "-o", "json").json["description"]
    assert counted[name] == changed.json["subcloud_count"]
    assert (2, True) == (refused.code, "Nothing to change" in refused.err)


def test_a_group_from_begin_to_end(shell: OperatorShell) -> None:
    """A group is created, gets a site and loses it, and is deleted after a question, which --yes answers."""
    created = shell.run("group", "create", "night", "--description", "Sites of the night", "-o", "json")
    moved = shell.run("subcloud", "set", "edge-1", "--group", "night")
    members = shell.run("subcloud", "list", "--group", "night", "-o", "name")
    full = shell.run("group", "delete", "night", "--yes")
    back = shell.run("subcloud", "set", "edge-1", "--group", "Default")
    unasked = shell.run("group", "delete", "night")
    deleted = shell.run("group", "delete", "night", "--yes")

    assert ("night", 0) == (created.json["name"], created.json["subcloud_count"]), created.err
    assert [(0, 0), "edge-1\n"] == [(moved.code, back.code), members.out], moved.err
    assert (1, True) == (full.code, "not empty" in full.err)
    assert 2 == shell.run("subcloud", "set", "edge-1").code
    assert (2, True) == (unasked.code, "Give --yes" in unasked.err)
    assert (0, "Group night is deleted.\n") == (deleted.code, deleted.err)
    assert shell.run("group", "show", "night").code == 1


def test_releases(shell: OperatorShell) -> None:
    """The releases that the worker sees on the controller are listed."""
    wait_for(lambda: shell.run("releases", "-o", "name").out == "23.09\n")


def test_processes_and_versions(shell: OperatorShell) -> None:
    """`workers`, `subcloud show` and `version` ask the API that the shell names, without any setting of the service."""
    workers = shell.run("workers", "-o", "json").json
    shown = shell.run("subcloud", "show", "edge-1", "-o", "json").json
    versions = shell.run("version", "-o", "json").json

    assert [True] == [one["alive"] for one in workers]
    assert "edge-1" == shown["name"]
    assert "host_keys" in shown
    assert [versions["client"]] == versions["service"]
    assert shell.run("--version").out == f"prestager {versions['client']}\n"
    assert "Usage: prestager status" in shell.run("status", "-h").out


def test_no_service(shell: OperatorShell) -> None:
    """Without a service `version` still tells the client's, and `status` ends with 6."""
    away = ("--server", "http://127.0.0.1:9")

    assert (6, "") == (shell.run("status", *away).code, shell.run("status", *away).out)
    assert shell.run("version", *away).code == 0


def test_queues_of_one_process(shell: OperatorShell) -> None:
    """Where one process does everything, `queues` says that there are none."""
    ended = shell.run("queues")

    assert (1, True) == (ended.code, "One process does everything: there are no queues." in ended.err)


def test_one_prestage(shell: OperatorShell) -> None:
    """A site is prestaged by itself, and its log is followed to the end."""
    begun = shell.run("subcloud", "prestage", "edge-2", stdin=PASSWORD)
    log = shell.run("step", "log", "-f", "edge-2")

    assert begun.code == 0, begun.err
    assert "=== prestage-prepare" in log.out
    assert shell.run("step", "log", "nobody").code == 1


@pytest.mark.parametrize("follows", [(), ("-f",)])
def test_a_log_whose_reader_has_enough(shell: OperatorShell, follows: tuple[str, ...]) -> None:
    """`step log | head -1` ends quietly, with and without `-f`: a closed pipe is no fault of the API."""
    assert shell.run("subcloud", "prestage", "edge-1", stdin=PASSWORD).code == 0
    assert shell.run("step", "log", "-f", "edge-1").code == 0
    log = shell.start("step", "log", *follows, "edge-1")
    assert log.stdout is not None
    # Closed before anything is written, so that the first line finds no reader.
    log.stdout.close()
    log.stdout = None
    _, said = log.communicate("", timeout=120)

    assert said == ""
    assert log.returncode == 1


@pytest.mark.parametrize("command", [("status",), ("subcloud", "list")])
def test_cost(shell: OperatorShell, command: tuple[str, ...]) -> None:
    """Looking takes at most thirty times the CPU time of an empty Python program."""
    shell.strategy("create", stdin=PASSWORD)

    assert times_an_empty_program(PRESTAGER, *command, environment=shell.environment) <= WANTED * MARGIN
