"""Fingerprints of failures: what makes them differ and what does not."""

from __future__ import annotations

import pytest

from statemachine.failure_classes import ADVICE, class_of_code, class_of_message
from statemachine.problems import TEXT_LENGTH, failure, normalise
from statemachine.states import FailureClass


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("ssh: connect to host 10.0.0.7 port 22: No route to host", "ssh: connect to host * port #: No route to host"),
        ("no answer from [2001:db8::17]:22", "no answer from *:#"),
        ("Subcloud edge-7 is unmanaged.", "Subcloud * is unmanaged."),
        (
            "foo-1.2-3.x86_64.rpm is damaged: SHA-256 is 0ab1, expected 0cd2.",
            "* is damaged: SHA-256 is #ab#, expected #cd#.",
        ),
        ("1.5 GiB needed, but 900.0 MiB available", "# needed, but # available"),
        ("locked until 2026-11-29 10:22:01.", "locked until #."),
        ("cannot read /var/www/pages/feed/rel-23.09/Packages/a.rpm", "cannot read *"),
        ("/etc/build.info does not exist", "/etc/build.info does not exist"),
        ("missing: a-1.rpm, b-2.rpm and c-3.rpm", "missing: *"),
        ("Image registry.local:9001/stx/app:v1 has no variant", "Image * has no variant"),
        ("No module named 'docker.errors'", "No module named 'docker.errors'"),
    ],
)
def test_what_differs_from_site_to_site_is_left_out(text: str, kept: str) -> None:
    """Names, addresses, ids, numbers, times and long paths are replaced; short paths and names of modules stay."""
    assert normalise(text, ["edge-7"]) == kept


def test_a_name_within_a_word_stays() -> None:
    """The name of a site is replaced as a word only, and longer names before shorter ones."""
    assert normalise("edge edges edge-1", ["edge", "edge-1"]) == "* edges *"


def test_the_cause_is_kept_of_a_long_text() -> None:
    """A long text keeps its beginning and its end."""
    text = failure("begins " + "word " * 2000 + "ends").text
    assert text.startswith("begins")
    assert text.endswith("ends")
    assert len(text) <= TEXT_LENGTH


def test_phase_class_task_and_text_make_the_fingerprint() -> None:
    """A problem is another one in another phase, of another class, in another task, or with another text."""
    one = failure("Broken.", failure_class=FailureClass.SPACE, task="Copy")
    ids = {
        one.problem_id("prestaging-packages"),
        one.problem_id("prestaging-images"),
        failure("Broken.", failure_class=FailureClass.CHECKSUM, task="Copy").problem_id("prestaging-packages"),
        failure("Broken.", failure_class=FailureClass.SPACE, task="Move").problem_id("prestaging-packages"),
        failure("Torn.", failure_class=FailureClass.SPACE, task="Copy").problem_id("prestaging-packages"),
    }
    assert len(ids) == 5
    assert all(len(one) == 12 for one in ids)


@pytest.mark.parametrize("kind", list(FailureClass))
def test_every_class_has_advice(kind: FailureClass) -> None:
    """Each class has one sentence about what to do next, and no class is a code of nothing."""
    text = ADVICE[kind].text
    assert text.endswith(".")
    assert ". " not in text
    assert class_of_code(kind.value) is kind


@pytest.mark.parametrize("code", [None, 7, "", "other", ["space"]])
def test_codes_that_are_no_class_are_none(code: object) -> None:
    """What a module of others may answer is no class."""
    assert class_of_code(code) is None


def test_a_message_without_known_words_is_the_playbooks() -> None:
    """A message that says nothing of a known trouble is of the class `playbook`."""
    assert class_of_message("It broke.") is FailureClass.PLAYBOOK
