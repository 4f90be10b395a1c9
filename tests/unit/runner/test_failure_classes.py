"""Real failures of Ansible get their class, and those with the same cause the same fingerprint.

`ansible_failures.json` has what tasks answered in public issue threads, with names and addresses replaced; some appear
a second time with another site's. Groups and classes were made by hand.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from runner.failure_text import read_failures, task_failure
from runner.masking import Masker
from statemachine.problems import Failure
from statemachine.states import FailureClass

CORPUS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("ansible_failures.json").read_text())
# Part of the failures that must be in the right group, and that must have the right class.
RIGHT = 0.95


def failure_of(entry: dict[str, Any]) -> Failure:
    """Return the failure of an entry, as of a task of one name on one site."""
    return task_failure({"task": "Stage", "host": "edge-1"}, entry["result"], is_unreachable=entry["unreachable"])


def fingerprints() -> dict[str, Counter[str]]:
    """Return the fingerprints of each group, with how many of its failures have them."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in CORPUS:
        found[entry["group"]][failure_of(entry).problem_id("prestaging-packages")] += 1
    return dict(found)


def test_the_corpus_has_sixty_real_failures() -> None:
    """The groups are tried on sixty failures that people reported, and on others of theirs with other names."""
    reported = [entry for entry in CORPUS if "varied" not in entry["source"]]
    assert len(reported) >= 60
    assert len({entry["group"] for entry in CORPUS}) >= 40


def test_failures_of_one_cause_have_one_fingerprint() -> None:
    """At least 95 % of the failures have the fingerprint that most of their group have."""
    right = sum(counts.most_common(1)[0][1] for counts in fingerprints().values())
    assert right / len(CORPUS) >= RIGHT


def test_no_fingerprint_stands_for_two_causes() -> None:
    """Failures with different causes never have the same fingerprint."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for group, counts in fingerprints().items():
        for fingerprint in counts:
            groups[fingerprint].add(group)
    assert [sorted(names) for names in groups.values() if len(names) > 1] == []


def test_failures_have_the_class_of_their_cause() -> None:
    """At least 95 % of the failures have the class that a person gave them."""
    wrong = [
        (entry["group"], failure_of(entry)) for entry in CORPUS if failure_of(entry).failure_class != entry["class"]
    ]
    assert 1 - len(wrong) / len(CORPUS) >= RIGHT, wrong


@pytest.mark.parametrize("kind", [FailureClass.SPACE, FailureClass.CHECKSUM, FailureClass.CONTROLLER])
def test_the_code_of_a_module_decides(kind: FailureClass) -> None:
    """A class that a module names counts, whatever its message says."""
    result = {"msg": "Permission denied (publickey).", "failure_class": kind.value}
    found = task_failure({"task": "t", "host": "h"}, result, is_unreachable=False)
    assert found.failure_class is kind


def test_the_code_of_an_item_decides() -> None:
    """In a loop the class counts that the item which failed names; the item itself is no part of the fingerprint."""
    items = [{"item": "a.rpm"}, {"item": "b.rpm", "failed": True, "msg": "Broken.", "failure_class": "checksum"}]
    result = {"msg": "All items completed", "results": items}
    found = task_failure({"task": "t", "host": "h"}, result, is_unreachable=False)
    assert found == Failure(failure_class=FailureClass.CHECKSUM, task="t", text="Broken.")


def test_a_word_that_is_no_class_decides_nothing() -> None:
    """A module of others may use the same key: what is no class is ignored."""
    found = task_failure({"task": "t"}, {"msg": "Broken.", "failure_class": "ours"}, is_unreachable=False)
    assert found.failure_class is FailureClass.PLAYBOOK


def test_an_unreachable_site_is_no_timeout() -> None:
    """A connection that timed out is the network's class, not that of a time limit."""
    found = task_failure({"task": "t", "host": "h"}, {"msg": "Connection timed out"}, is_unreachable=True)
    assert found.failure_class is FailureClass.UNREACHABLE


def test_a_hidden_reason_is_a_problem_too() -> None:
    """A task that hides its result fails with a class and a text."""
    found = task_failure({"task": "t", "host": "h"}, {"censored": "hidden"}, is_unreachable=False)
    assert found.failure_class is FailureClass.PLAYBOOK
    assert found.text


def test_no_secret_is_in_a_failure(tmp_path: Path) -> None:
    """A password that a task printed is in neither task nor text of the failure."""
    record = {"task": "Log in with Sup3rS3cret!", "host": "edge-1", "unreachable": False}
    file = tmp_path / "failures.json"
    file.write_text(json.dumps([{**record, "result": {"msg": "login Sup3rS3cret! was refused, password=other-one"}}]))
    (found,) = read_failures(file, Masker(["Sup3rS3cret!"]))
    assert "Sup3rS3cret" not in found.sentence + found.failure.task + found.failure.text
    assert "other-one" not in found.failure.text
