"""Progress of a playbook from ansible-runner's events: play, task, results, times of tasks, announced bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from runner.failure_text import sentence
from runner.masking import Masker

# What is counted, in Ansible's words but for `failed` (failures) and `unreachable` (dark). Changed ones are ok too.
COUNTED: Final = ("ok", "changed", "failed", "unreachable", "skipped", "rescued", "ignored")
_OF_THE_RECAP: Final = {"failed": "failures", "unreachable": "dark"}
# Longest name of a play or task in a progress report, in characters.
_NAME_LENGTH: Final = 200

# Most tasks of a playbook that are timed, and longest name of one, in characters.
_MOST_TASKS: Final = 200
_TASK_NAME_LENGTH: Final = 100
# Key of a task's result that announces the bytes that the run will bring to the site.
_ANNOUNCED: Final = "prestage_transfer_bytes"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of one playbook; empty before its first play. Holds no secret."""

    # Names of the play and the task that began last.
    play: str = ""
    task: str = ""
    # Tasks that have begun.
    tasks: int = 0
    # Results of tasks by what is counted, see COUNTED.
    results: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))


class ProgressCounter:
    """Counts events. A failure that a playbook rescues is counted as failed until the recap corrects it."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._play = ""
        self._task = ""
        self._tasks = 0
        self._results: Counter[str] = Counter()

    @property
    def now(self) -> Progress:
        """Progress so far."""
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


class TaskEnd(StrEnum):
    """Result of one task of a playbook on its host."""

    OK = "ok"
    SKIPPED = "skipped"
    # Whether or not the play went on.
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class TaskTime:
    """One task of a playbook; moments are seconds since the epoch."""

    # Secrets masked, cut.
    name: str
    began_at: float
    ended_at: float
    result: TaskEnd


_RESULTS: Final = {
    "runner_on_ok": TaskEnd.OK,
    "runner_on_skipped": TaskEnd.SKIPPED,
    "runner_on_failed": TaskEnd.FAILED,
    "runner_on_unreachable": TaskEnd.FAILED,
}


class TaskTimes:
    """Reads events one by one; there is one host, so a task lasts until the next one begins. `clock` gives seconds."""

    def __init__(self, masker: Masker, clock: Callable[[], float]) -> None:
        self._masker = masker
        self._clock = clock
        self._tasks: list[TaskTime] = []
        self._name: str | None = None
        self._began_at = 0.0
        self._result = TaskEnd.OK

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        kind = event.get("event")
        if kind in {"playbook_on_task_start", "playbook_on_handler_task_start", "playbook_on_stats"}:
            self._close()
        if kind in {"playbook_on_task_start", "playbook_on_handler_task_start"}:
            data = event.get("event_data") or {}
            self._name = self._masker.text(str(data.get("task") or data.get("name") or "unnamed"))[:_TASK_NAME_LENGTH]
            self._began_at = self._clock()
            self._result = TaskEnd.OK
        self._result = _RESULTS.get(str(kind), self._result)

    def finish(self) -> tuple[TaskTime, ...]:
        """Return the tasks; one that goes on still ends now."""
        self._close()
        return tuple(self._tasks)

    def _close(self) -> None:
        if self._name is not None and len(self._tasks) < _MOST_TASKS:
            self._tasks.append(
                TaskTime(name=self._name, began_at=self._began_at, ended_at=self._clock(), result=self._result)
            )
        self._name = None


class AnnouncedBytes:
    """Adds up the bytes that the results of a run's tasks announce; 0 before the first."""

    def __init__(self) -> None:
        self.total = 0

    def take(self, event: Mapping[str, Any]) -> bool:
        """Take one of ansible-runner's events in; tell whether it announced more."""
        if event.get("event") != "runner_on_ok":
            return False
        result = (event.get("event_data") or {}).get("res")
        size = result.get(_ANNOUNCED) if isinstance(result, Mapping) else None
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            return False
        self.total += size
        return True
