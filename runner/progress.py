"""Progress of a playbook from ansible-runner's events: play, task, and how tasks ended so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runner.failure_text import sentence
from runner.masking import Masker

# What is counted, in Ansible's words but for `failed` (failures) and `unreachable` (dark). Changed ones are ok too.
COUNTED: Final = ("ok", "changed", "failed", "unreachable", "skipped", "rescued", "ignored")
_OF_THE_RECAP: Final = {"failed": "failures", "unreachable": "dark"}
# Longest name of a play or task that is told, in characters.
_NAME_LENGTH: Final = 200


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far one playbook has come; empty before its first play. Holds no secret."""

    # Names of the play and the task that began last.
    play: str = ""
    task: str = ""
    # Tasks that have begun.
    tasks: int = 0
    # Results of tasks by what is counted, see COUNTED.
    results: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))


class ProgressCounter:
    """Counts events. A failure that a playbook rescues is counted as failed until the recap tells better."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._play = ""
        self._task = ""
        self._tasks = 0
        self._results: Counter[str] = Counter()

    @property
    def now(self) -> Progress:
        """How far it is."""
        results = {name: self._results[name] for name in COUNTED}
        return Progress(play=self._play, task=self._task, tasks=self._tasks, results=results)

    def take(self, event: Mapping[str, Any]) -> bool:
        """Take one event in; tell whether it changed anything."""
        data = event.get("event_data") or {}
        match event.get("event"):
            case "playbook_on_play_start":
                self._play = self._name(data.get("play") or data.get("name"))
            case "playbook_on_task_start" | "playbook_on_handler_task_start":
                self._task = self._name(data.get("task") or data.get("name"))
                self._tasks += 1
            case "runner_on_ok":
                self._results["ok"] += 1
                self._results["changed"] += (data.get("res") or {}).get("changed") is True
            case "runner_on_failed" if data.get("ignore_errors"):
                # Ansible counts it as ok as well.
                self._results.update(("ok", "ignored"))
            case "runner_on_failed":
                self._results["failed"] += 1
            case "runner_on_unreachable":
                self._results["unreachable"] += 1
            case "runner_on_skipped":
                self._results["skipped"] += 1
            case "playbook_on_stats":
                self._results = Counter({name: _total(data, name) for name in COUNTED})
            case _:
                return False
        return True

    def _name(self, name: object) -> str:
        return sentence(self._masker.text(str(name or "")))[:_NAME_LENGTH]


def _total(recap: Mapping[str, Any], name: str) -> int:
    """Return the sum over all hosts of the recap."""
    hosts = recap.get(_OF_THE_RECAP.get(name, name)) or {}
    return sum(count for count in hosts.values() if isinstance(count, int))
