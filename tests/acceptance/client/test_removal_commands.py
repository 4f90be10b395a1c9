"""`prestager subcloud unstage` and `forget-staged` over the API."""

from __future__ import annotations

from tests.support.operator_shell import OperatorShell
from tests.support.waiting import wait_for

PASSWORD = "Li69nux*\n"


def removals(shell: OperatorShell, site: str) -> list[dict[str, object]]:
    """Return the removals of a site, the newest first."""
    found = shell.run("subcloud", "prestages", "--subcloud", site, "-o", "json").json
    return [one for one in found if one["type"] == "unstage"]


def staged(shell: OperatorShell, site: str) -> str | None:
    """Return what is shown as staged at a site."""
    found: str | None = shell.run("subcloud", "show", site, "-o", "json").json["prestage-versions"]
    return found


def test_the_end_is_waited_for(shell: OperatorShell) -> None:
    """A removal is followed to its end, and the step is what standard output holds."""
    ended = shell.run("subcloud", "unstage", "edge-1", "--release", "23.09", "-o", "json", stdin=PASSWORD)

    assert 0 == ended.code, ended.err
    step = tuple(ended.json[key] for key in ("cloud", "type", "release", "outcome"))
    assert ("edge-1", "unstage", "23.09", "complete") == step
    assert "The removal of 23.09 from edge-1 is under way" in ended.err
    assert "23.09 is not staged on edge-1 any more.\n" in ended.err
    assert "Li69nux" not in ended.out + ended.err


def test_a_removal_that_found_nothing_is_said(shell: OperatorShell) -> None:
    """A site on which our playbooks have nothing of the release is no success that hides what others put there."""
    ended = shell.run("subcloud", "unstage", "edge-1", "--release", "22.06", stdin=PASSWORD)

    nothing = "Nothing was removed: Prestager's playbooks have nothing of 22.06 on edge-1.\n"
    assert (0, True, False) == (ended.code, nothing in ended.err, "any more" in ended.err), ended.err


def test_a_failure_is_said(shell: OperatorShell) -> None:
    """A removal that failed ends the command with 3 and the sentence of its step."""
    ended = shell.run("subcloud", "unstage", "broken", "--release", "23.09", stdin=PASSWORD)

    assert 3 == ended.code, ended.err
    assert "23.09 may still be staged on broken: unstaging: " in ended.err
    assert 1 == (ended.out + ended.err).count("The file system is read-only")


def test_it_need_not_be_waited_for(shell: OperatorShell) -> None:
    """With --no-wait the command returns while the removal is under way, which goes on."""
    ended = shell.run("subcloud", "unstage", "edge-2", "--release", "23.09", "--no-wait", "-o", "name", stdin=PASSWORD)

    assert 0 == ended.code, ended.err
    wait_for(lambda: removals(shell, "edge-2")[0]["outcome"] == "complete")
    assert ended.out.strip() == str(removals(shell, "edge-2")[0]["id"])


def test_what_is_refused_is_said(shell: OperatorShell) -> None:
    """A refusal and a missing password end the command with a sentence, and start nothing."""
    before = removals(shell, "edge-1")
    running = shell.run("subcloud", "unstage", "edge-1", "--release", "22.12", stdin=PASSWORD)
    empty = shell.run("subcloud", "unstage", "edge-1", "--release", "23.09")
    unknown = shell.run("subcloud", "unstage", "nowhere", "--release", "23.09", stdin=PASSWORD)

    assert (1, 2, 1) == (running.code, empty.code, unknown.code)
    assert "Unstage failed 'edge-1': The subcloud runs release 22.12, which is never removed." in running.err
    assert "No password was given" in empty.err
    assert before == removals(shell, "edge-1")


def test_what_is_staged_is_forgotten(shell: OperatorShell) -> None:
    """A release that may not be at a site any more is not shown as staged; a repeat does no harm."""
    assert shell.run("subcloud", "prestage", "edge-2", stdin=PASSWORD).code == 0
    assert shell.run("step", "log", "-f", "edge-2").code == 0
    wait_for(lambda: "23.09" in (staged(shell, "edge-2") or ""))
    for _ in range(2):
        forgotten = shell.run("subcloud", "forget-staged", "edge-2", "--release", "23.09", "-o", "json")
        assert (0, None) == (forgotten.code, forgotten.json["prestage-versions"]), forgotten.err
    wrong = shell.run("subcloud", "forget-staged", "edge-2", "--release", "x")

    assert "its next prestage finds out what is there" in forgotten.err
    assert 1 == wrong.code
