"""Rules of which failures are the reason of a failed run, and of what is kept of them."""

from __future__ import annotations

import json

from runner.callback_plugins.prestager_failures import PendingFailure, PendingFailures, Position, Step, shorten

PLAY = (Step("play", "block", has_rescue=False),)


def block(name: str, section: str, *, rescue: bool = False, inside: Position = PLAY) -> Position:
    """Return a position in a section of the block `name`."""
    return (*inside, Step(name, section, rescue))


def reasons(*events: tuple[str, Position]) -> list[str]:
    """Return which of the failures are told; an event is a name and where it failed, or "" and where a task was ok."""
    pending = PendingFailures()
    for name, position in events:
        pending.moved_to("edge", position)
        if name:
            pending.add(PendingFailure("edge", position, is_unreachable=False, record={"task": name}))
    return [failure.record["task"] for failure in pending.reasons()]


def test_a_failure_stays_the_reason_while_the_playbook_cleans_up() -> None:
    """Tasks of `always` that succeed do not hide it, and one that fails is told after it."""
    always = block("b", "always")

    assert ["A"] == reasons(("A", block("b", "block")), ("", always))
    assert ["A", "C"] == reasons(("A", block("b", "block")), ("", always), ("C", always))


def test_a_rescued_failure_is_no_reason() -> None:
    """A rescue section that ran without failing ends the matter, whether or not a task follows."""
    failed = ("A", block("b", "block", rescue=True))
    rescue = ("", block("b", "rescue", rescue=True))

    assert [] == reasons(failed, rescue)
    assert [] == reasons(failed, rescue, ("", PLAY))
    assert ["B"] == reasons(failed, rescue, ("B", PLAY))
    assert ["C"] == reasons(failed, rescue, ("C", block("b", "always", rescue=True)))


def test_a_rescue_that_fails_is_told_after_what_it_should_have_rescued() -> None:
    """Then neither is rescued, and what fails in `always` comes third."""
    failed = ("A", block("b", "block", rescue=True))
    rescue = ("R", block("b", "rescue", rescue=True))

    assert ["A", "R"] == reasons(failed, rescue)
    assert ["A", "R", "C"] == reasons(failed, rescue, ("C", block("b", "always", rescue=True)))


def test_a_failure_rescued_inside_is_none_of_the_outer_block() -> None:
    """An inner rescue that succeeded leaves the outer block without a failure; one that failed does not."""
    outer = block("o", "block")
    inner = [block("i", section, rescue=True, inside=outer) for section in ("block", "rescue")]
    clean = block("o", "always")

    assert ["C"] == reasons(("A", inner[0]), ("", inner[1]), ("C", clean))
    assert ["A", "R", "C"] == reasons(("A", inner[0]), ("R", inner[1]), ("C", clean))


def test_an_outer_rescue_rescues_everything_inside() -> None:
    """What fails in an inner block and in its rescue is over when the outer rescue succeeds."""
    outer = block("o", "block", rescue=True)
    inner = [block("i", section, rescue=True, inside=outer) for section in ("block", "rescue")]

    assert [] == reasons(("A", inner[0]), ("R", inner[1]), ("", block("o", "rescue", rescue=True)))


def test_hosts_do_not_hide_each_others_failures() -> None:
    """A play that goes on for one host says nothing about another."""
    pending = PendingFailures()
    pending.add(PendingFailure("edge", PLAY, is_unreachable=False, record={}))
    pending.moved_to("localhost", PLAY)

    assert 1 == len(pending.reasons())


def test_an_unreachable_host_is_not_rescued() -> None:
    """Ansible's rescue is not for hosts that cannot be reached."""
    pending = PendingFailures()
    pending.add(PendingFailure("edge", block("b", "block", rescue=True), is_unreachable=True, record={}))

    assert 1 == len(pending.reasons())


def test_what_is_kept_of_a_result_is_bounded() -> None:
    """Long texts lose their middle, lists their end, loops everything but the first failed item; numbers stay."""
    long = "begin" + "x" * 5_000_000 + "end"
    items = [{"item": "a"}, {"item": "b", "failed": True, "msg": long}] * 1000
    short = shorten({"rc": 3, "cmd": long, "msg": [long] * 3, "stderr": long, "other": long, "results": items})

    assert len(json.dumps(short)) < 250_000
    assert 3 == short["rc"]
    assert "other" not in short
    assert short["stderr"].startswith("beginx")
    assert short["stderr"].endswith("xend")
    assert ["b"] == [item["item"] for item in short["results"]]
