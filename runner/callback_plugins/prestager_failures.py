"""Ansible callback that keeps the failures which are the reason of a failed run, in a small file.

Events of ansible-runner say neither in which section of a block a task stands nor, of a result of some hundred
kilobytes, anything at all. This callback has both: it drops failures that the playbook rescued, and cuts long texts.

It is loaded by the Ansible that the operator chose: from 2.10 on, with any Python that has the future import below.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ansible import constants
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: prestager_failures
type: notification
short_description: Keep the failures that are the reason of a failed run
description:
  - Writes them to the file that the environment names in PRESTAGER_FAILURES_FILE, as JSON, each time they change.
"""

FILE_VARIABLE = "PRESTAGER_FAILURES_FILE"

# What is kept of a long text: as many characters of its beginning and of its end.
_END_LENGTH = 16 * 1024
# The first failures are kept; a playbook that goes on failing repeats itself.
_MOST_FAILURES = 10
_MOST_ELEMENTS = 100

# Results are waited for this long at a time, in seconds. By default it is a millisecond: 5.6 % of a core for each run
# that only waits; this is 0.17 %. No variable of the environment has it.
_POLL_INTERVAL_S = 0.1

_TEXTS = ("msg", "stderr", "stdout", "module_stderr", "module_stdout", "exception", "reason", "item")
_FLAGS = ("rc", "failed", "unreachable", "censored", "_ansible_item_label", "failure_class")


class Step(NamedTuple):
    """A block around a task, and the section of the block that the task stands in."""

    block: str
    # "block", "rescue" or "always".
    section: str
    has_rescue: bool


# The blocks around a task, outermost first.
Position = tuple[Step, ...]


class PendingFailure(NamedTuple):
    """A task that failed."""

    host: str
    position: Position
    # An unreachable host leaves the playbook; no rescue brings it back.
    is_unreachable: bool
    record: Mapping[str, Any]


class PendingFailures:
    """Failures that may be the reason why a run fails. Feed it every result of a task, in order."""

    def __init__(self) -> None:
        self._failures: list[PendingFailure] = []

    def moved_to(self, host: str, position: Position) -> None:
        """Forget failures of `host` that the playbook has overcome, for it goes on at `position`."""
        self._failures = [
            failure
            for failure in self._failures
            if failure.host != host or failure.is_unreachable or self._counts_at(failure, position)
        ]

    def add(self, failure: PendingFailure) -> None:
        """Take a failure in."""
        if len(self._failures) < _MOST_FAILURES:
            self._failures.append(failure)

    def reasons(self) -> list[PendingFailure]:
        """Return the failures that nothing has rescued, oldest first."""
        return [failure for failure in self._failures if failure.is_unreachable or not self._is_rescued(failure, 0)]

    def _counts_at(self, failure: PendingFailure, position: Position) -> bool:
        for level, (own, other) in enumerate(zip_longest(failure.position, position)):
            if own is None or other is None or own.block != other.block:
                # Out of the block without having failed: something inside it was rescued.
                return False
            if own.section != other.section:
                return other.section == "rescue" or not self._is_rescued(failure, level)
        return False

    def _is_rescued(self, failure: PendingFailure, level: int) -> bool:
        """Return whether a rescue section around `failure`, from `level` inwards, ran without failing itself."""
        return any(
            step.section == "block" and step.has_rescue and not self._has_failed_in(step.block, "rescue")
            for step in failure.position[level:]
        )

    def _has_failed_in(self, block: str, section: str) -> bool:
        return any(
            step.block == block and step.section == section for failure in self._failures for step in failure.position
        )


def position_of(task: Any) -> Position:
    """Return the blocks around a task of Ansible."""
    steps: list[Step] = []
    child, parent = task, task._parent  # noqa: SLF001 - Ansible has no other way to it
    while parent is not None:
        if isinstance(parent, Block):
            steps.append(Step(parent._uuid, _section(parent, child._uuid), bool(parent.rescue)))  # noqa: SLF001
        child, parent = parent, parent._parent  # noqa: SLF001
    return tuple(reversed(steps))


def _section(block: Block, uuid: str) -> str:
    for section in ("rescue", "always"):
        if any(child._uuid == uuid for child in getattr(block, section)):  # noqa: SLF001
            return section
    return "block"


def _part(result: Any, name: str) -> Any:
    """Return the task, host or result that a result of a task has; before Ansible 2.19 by a private name only."""
    return getattr(result, name if hasattr(result, name) else f"_{name}")


def shorten(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says why a task failed, in at most some hundred kilobytes."""
    short = {key: _flag(result[key]) for key in _FLAGS if key in result}
    short.update({key: _text(result[key]) for key in _TEXTS if result.get(key) is not None})
    if "cmd" in result:
        short["cmd"] = ""
    items = result.get("results")
    if isinstance(items, list):
        # The first item that failed is the one that is told.
        failed = (item for item in items if isinstance(item, Mapping) and _has_failed(item))
        short["results"] = [shorten(item) for item in failed][:1]
    return short


def _has_failed(item: Mapping[str, Any]) -> bool:
    return bool(item.get("failed") or item.get("unreachable") or "exception" in item)


def _flag(value: Any) -> Any:
    return value if isinstance(value, (bool, int)) else _cut(str(value))


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(element) for element in value[:_MOST_ELEMENTS]]
    return _cut(value if isinstance(value, str) else str(value))


def _cut(text: str) -> str:
    return text if len(text) <= 2 * _END_LENGTH else f"{text[:_END_LENGTH]} ... {text[-_END_LENGTH:]}"


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Ansible's entry to this plugin."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "prestager_failures"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        constants.DEFAULT_INTERNAL_POLL_INTERVAL = _POLL_INTERVAL_S
        self._pending = PendingFailures()
        self._written: list[PendingFailure] = []
        self._file = os.environ.get(FILE_VARIABLE)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Take a result in."""
        self._take(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Take a result in."""
        self._take(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: FBT001, FBT002 - Ansible's
        """Take a failure in, unless the playbook ignores it."""
        self._take(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Take a failure in, unless the playbook ignores it."""
        self._take(result, failed=not _part(result, "task").ignore_unreachable, is_unreachable=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002 - Ansible's
        """Write what is left at the end."""
        self._write()

    def _take(self, result: Any, *, failed: bool = False, is_unreachable: bool = False) -> None:
        task = _part(result, "task")
        host, position = _part(result, "host").get_name(), position_of(task)
        # Handlers of a failed host run after everything else: they say nothing about what was before.
        if not isinstance(task, Handler):
            self._pending.moved_to(host, position)
        if failed:
            record = {
                "task": task.get_name(),
                "host": host,
                "unreachable": is_unreachable,
                "result": shorten(_part(result, "result")),
            }
            self._pending.add(PendingFailure(host, position, is_unreachable, record))
        self._write()

    def _write(self) -> None:
        reasons = self._pending.reasons()
        if self._file is None or reasons == self._written:
            return
        self._written = reasons
        path = Path(self._file)
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump([failure.record for failure in reasons], file)
        partial.rename(path)
