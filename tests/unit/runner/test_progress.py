"""Rules of how a playbook's progress is counted."""

from __future__ import annotations

from typing import Any

from runner.masking import Masker
from runner.progress import COUNTED, Progress, ProgressCounter


def counted(*events: tuple[str, dict[str, Any]]) -> Progress:
    """Return the progress after some events."""
    counter = ProgressCounter(Masker(["hush"]))
    for kind, data in events:
        counter.take({"event": kind, "event_data": data})
    return counter.now


def results(progress: Progress) -> dict[str, int]:
    """Return the counts that are not zero."""
    return {name: count for name, count in progress.results.items() if count}


def test_nothing_has_begun() -> None:
    """Before the first play every count is there, and zero."""
    assert Progress() == counted()
    assert dict.fromkeys(COUNTED, 0) == counted().results


def test_names_are_of_what_began_last() -> None:
    """The play and the task that began last are told, handlers too, masked and in one line; tasks are counted."""
    progress = counted(
        ("playbook_on_play_start", {"play": "Stage hush"}),
        ("playbook_on_task_start", {"task": "First"}),
        ("playbook_on_task_start", {"task": "Take\nhush " + "x" * 300}),
        ("playbook_on_handler_task_start", {"name": "Restart"}),
    )

    assert ("Stage ********", "Restart", 3) == (progress.play, progress.task, progress.tasks)
    assert 200 == len(counted(("playbook_on_task_start", {"task": "x" * 300})).task)


def test_results_are_counted_as_ansible_does() -> None:
    """What changed is ok as well, and so is a failure that is ignored."""
    progress = counted(
        ("runner_on_ok", {"res": {"changed": True}}),
        ("runner_on_ok", {"res": {}}),
        ("runner_on_failed", {"ignore_errors": True}),
        ("runner_on_failed", {}),
        ("runner_on_unreachable", {}),
        ("runner_on_skipped", {}),
    )

    assert {"ok": 3, "changed": 1, "failed": 1, "unreachable": 1, "skipped": 1, "ignored": 1} == results(progress)


def test_the_recap_knows_better() -> None:
    """At the end the counts are those of the recap: a failure that was rescued is no longer one."""
    recap = {"ok": {"a": 2, "b": 1}, "failures": {}, "dark": {"b": 1}, "rescued": {"a": 1}, "processed": {"a": 1}}
    progress = counted(("runner_on_failed", {}), ("playbook_on_stats", recap))

    assert {"ok": 3, "unreachable": 1, "rescued": 1} == results(progress)


def test_only_what_changes_something_is_told() -> None:
    """An event that says nothing about progress is no reason to tell it anew."""
    counter = ProgressCounter(Masker([]))

    assert not counter.take({"event": "verbose", "stdout": "x"})
    assert counter.take({"event": "runner_on_ok", "event_data": {"res": {}}})
