"""Rules of the sentence that tells an operator why a run failed."""

from __future__ import annotations

from typing import Any

import pytest

from runner.failure import DETAILS_LIMIT, message, sentence, startup_failure, task_failure


def failed(res: dict[str, Any], **data: Any) -> dict[str, Any]:
    """Return the event of a failed task."""
    return {"event": "runner_on_failed", "event_data": {"task": "Copy", "host": "site1", "res": res, **data}}


def test_failed_task_is_named_with_host_and_message() -> None:
    """The form is: task '<task>' on <host>: <message>."""
    assert "task 'Copy' on site1: disk full" == task_failure(failed({"msg": "disk full"}))


def test_ignored_error_is_no_failure() -> None:
    """An error that the playbook ignores is not told."""
    assert task_failure(failed({"msg": "never mind"}, ignore_errors=True)) is None


@pytest.mark.parametrize("event", ["runner_on_ok", "runner_on_skipped", "runner_item_on_failed", None])
def test_other_events_are_no_failure(event: str | None) -> None:
    """Only failed and unreachable tasks are failures; an item is told with its task."""
    assert task_failure({"event": event, "event_data": {"res": {"msg": "x"}}}) is None


def test_event_without_data_is_told_anyway() -> None:
    """A failure whose data was too large for ansible-runner still makes a sentence."""
    assert "task '?' on ?: no reason given" == task_failure({"event": "runner_on_failed"})


@pytest.mark.parametrize(
    ("res", "expected"),
    [
        ({"msg": ["two", "parts"]}, "two parts"),
        (
            {"msg": "non-zero return code", "cmd": "x", "rc": 2, "stderr": "a\nb\n", "stdout": "c"},
            "command returned 2: b",
        ),
        ({"msg": "non-zero return code", "cmd": "x", "rc": 2, "stderr": "", "stdout": "c\n"}, "command returned 2: c"),
        ({"msg": "non-zero return code", "cmd": "x", "rc": 2}, "command returned 2"),
        (
            {"msg": "MODULE FAILURE: No start of json char found", "module_stderr": "Traceback\nValueError: no\n"},
            "the module crashed: ValueError: no",
        ),
        ({"censored": "hidden", "msg": "secret"}, "the reason is hidden because the task sets no_log"),
        (
            {"msg": "One or more items failed", "results": [{"item": "a"}, {"item": "b", "failed": True, "msg": "no"}]},
            "item 'b': no",
        ),
        ({"results": [{"item": "c", "exception": "(traceback)", "msg": "2.21"}]}, "item 'c': 2.21"),
        ({"results": [{"censored": "x", "failed": True}]}, "the reason is hidden because the task sets no_log"),
        ({"stderr": "only this"}, "only this"),
        ({}, "no reason given"),
    ],
)
def test_the_most_telling_text_is_chosen(res: dict[str, Any], expected: str) -> None:
    """The message is the module's own, or what a command said last, or the first failed item's."""
    assert expected == message(res)


def test_unreachable_is_said() -> None:
    """A site that could not be reached is called unreachable."""
    event = {"event": "runner_on_unreachable", "event_data": {"task": "Ping", "host": "s", "res": {"msg": "timed out"}}}

    assert "task 'Ping' on s: unreachable: timed out" == task_failure(event)


def test_startup_error_brings_its_origin() -> None:
    """The last error before any play is told, with the place in the playbook."""
    lines = ["[WARNING]: x", "[ERROR]: first", "[ERROR]: the role 'r' was not found", "Origin: /p.yml:3:1", "", "3 r"]

    assert "the role 'r' was not found (/p.yml:3:1)" == startup_failure(lines)


def test_no_startup_error() -> None:
    """Without an error line there is nothing to tell."""
    assert startup_failure(["[WARNING]: x"]) is None


def test_sentence_is_one_printable_line_of_bounded_length() -> None:
    """Line breaks, control and lone surrogate characters vanish; both ends of a long text are kept."""
    text = sentence("begin\n\x00\x1b[0m\ud800 " + "x" * 2000 + " end")

    assert DETAILS_LIMIT == len(text)
    assert text.startswith("begin [0m x")
    assert text.endswith("x end")
    assert " ... " in text
