"""Rules of the sentence that tells an operator why a run failed."""

from __future__ import annotations

from typing import Any

import pytest

from runner.failure_text import DETAILS_LIMIT, failure_sentence, joined, message, sentence, startup_failure

TASK = {"task": "Copy", "host": "site1"}


def test_failed_task_is_named_with_host_and_message() -> None:
    """The form is: task '<task>' on <host>: <message>."""
    assert "task 'Copy' on site1: disk full" == failure_sentence(TASK, {"msg": "disk full"}, is_unreachable=False)


def test_names_that_are_missing_are_marked() -> None:
    """A failure of which nothing is known still makes a sentence."""
    assert "task '?' on ?: no reason given" == failure_sentence({}, {}, is_unreachable=False)


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
    said = failure_sentence(TASK, {"msg": "timed out"}, is_unreachable=True)

    assert "task 'Copy' on site1: unreachable: timed out" == said


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("publickey,password", "the site refused the login sysadmin@10.0.0.1 with this password. Try again with"),
        ("keyboard-interactive", "the site refused the login sysadmin@10.0.0.1 with this password. Try again with"),
        ("publickey", "the site takes no passwords from sysadmin@10.0.0.1 (only publickey). Allow them"),
    ],
)
def test_a_refused_login_is_told_with_its_remedy(methods: str, expected: str) -> None:
    """A wrong password is told apart from a site that takes none; what to do fits a prestage and a removal."""
    text = f"Failed to connect to the host via ssh: a warning\nsysadmin@10.0.0.1: Permission denied ({methods}).\n"

    assert f"task 'Copy' on site1: unreachable: {expected}" in failure_sentence(
        TASK, {"msg": text}, is_unreachable=True
    )


@pytest.mark.parametrize(
    "text",
    [
        "Invalid/incorrect username/password. Skipping remaining 3 retries to prevent account lockout: ",
        "Invalid/incorrect password: Permission denied, please try again.",
    ],
)
def test_a_login_refused_to_sshpass(text: str) -> None:
    """An older Ansible, which logs in by sshpass, has a wrong password told with the same remedy."""
    assert (
        "task 'Copy' on site1: unreachable: the site refused the login with this password. Try again with the"
        " site's own as sysadmin_password"
    ) == failure_sentence(TASK, {"msg": text}, is_unreachable=True)


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [([], ""), (["a"], "a"), (["a", "b"], "a; then b"), (["a", "b", "c", "d"], "a; then b; then c")],
)
def test_several_failures_are_told_in_order(sentences: list[str], expected: str) -> None:
    """The first failure comes first, then at most two others."""
    assert expected == joined(sentences)


@pytest.mark.parametrize("others", [1, 2, 5])
def test_a_long_first_failure_does_not_hide_the_others(others: int) -> None:
    """However long each is, the text keeps to its limit and both ends of each failure are there."""
    text = joined([f"begin{number} {'x' * 5000} end{number}" for number in range(others + 1)])

    assert len(text) <= DETAILS_LIMIT
    assert text == sentence(text)
    for number in range(min(others, 2) + 1):
        assert f"begin{number} x" in text
        assert f"x end{number}" in text


def test_startup_error_brings_its_origin() -> None:
    """The last error before any play is told, with the place in the playbook."""
    lines = ["[WARNING]: x", "[ERROR]: first", "[ERROR]: the role 'r' was not found", "Origin: /p.yml:3:1", "", "3 r"]

    assert "the role 'r' was not found (/p.yml:3:1)" == startup_failure(lines)


PLACE = """
The error appears to be in '/p b/x.yml': line 3, column 7, but may
be elsewhere in the file depending on the exact syntax problem.

The offending line appears to be:

  tasks:
    - name: "Li69nux"
      ^ here
"""
NOT_YAML = """We were unable to read either as JSON nor YAML, these are the errors we got from each:
JSON: Expecting value: line 1 column 1 (char 0)

Syntax Error while loading YAML.
  mapping values are not allowed in this context
"""


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (
            f"conflicting action statements: debug, wen\n{PLACE}",
            "conflicting action statements: debug, wen (/p b/x.yml:3:7)",
        ),
        (f"{NOT_YAML}{PLACE}", "YAML parsing failed: mapping values are not allowed in this context (/p b/x.yml:3:7)"),
        (
            "Unable to retrieve file contents\nCould not find x.yml",
            "Unable to retrieve file contents Could not find x.yml",
        ),
    ],
    ids=["place", "yaml", "lines"],
)
def test_startup_error_of_an_older_ansible(printed: str, expected: str) -> None:
    """Errors of Ansible before 2.19 are told as those of today are: with the place, without lines of the file."""
    text = startup_failure(["[WARNING]: x", *f"ERROR! {printed}".splitlines()])

    assert expected == sentence(text or "")


def test_failed_task_of_an_older_ansible() -> None:
    """A task's message loses the lines of the file that Ansible before 2.19 puts into it, and keeps the place."""
    assert "'nope' is undefined (/p b/x.yml:3:7)" == message(
        {"msg": f"'nope' is undefined\n{PLACE}\nWe could be wrong"}
    )


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


def test_a_site_that_cannot_be_reached_is_told_in_one_way() -> None:
    """The sentence is the same whether a module was to be sent as a file or into the connection."""
    prefixes = (
        "Failed to connect to the host via ssh:",
        'Data could not be sent to remote host "10.0.0.1". Make sure this host can be reached over ssh:',
    )
    texts = [f"Task failed: {prefix} ssh: connect to host 10.0.0.1 port 22: Connection refused" for prefix in prefixes]
    found = {failure_sentence(TASK, {"msg": text}, is_unreachable=True) for text in texts}

    assert {f"task 'Copy' on site1: unreachable: {texts[0]}"} == found


def test_a_module_that_was_not_started_is_told_with_the_reason() -> None:
    """Where a module answers nothing, the last line of its errors is told, but not that a connection was closed."""
    text = "Task failed: Module result deserialization failed: No start of json char found"
    lines = ("sudo: sorry, you must have a tty to run sudo\n", "Shared connection to 10.0.0.1 closed.\r\n", "")
    found = [failure_sentence(TASK, {"msg": text, "module_stderr": line}, is_unreachable=False) for line in lines]

    assert [f"task 'Copy' on site1: {text}{end}" for end in (f"; {lines[0].strip()}", "", "")] == found
