"""Times the tasks of a playbook from ansible-runner's events, for those who look at traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from runner.interface import TaskEnd, TaskTime
from runner.masking import Masker

# A playbook with more tells of its first ones.
_MOST: Final = 200
_NAME_LENGTH: Final = 100

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
            self._name = self._masker.text(str(data.get("task") or data.get("name") or "unnamed"))[:_NAME_LENGTH]
            self._began_at = self._clock()
            self._result = TaskEnd.OK
        self._result = _RESULTS.get(str(kind), self._result)

    def finish(self) -> tuple[TaskTime, ...]:
        """Return the tasks; one that goes on still ends now."""
        self._close()
        return tuple(self._tasks)

    def _close(self) -> None:
        if self._name is not None and len(self._tasks) < _MOST:
            self._tasks.append(
                TaskTime(name=self._name, began_at=self._began_at, ended_at=self._clock(), result=self._result)
            )
        self._name = None
