"""Writes what a playbook run did to the JSON file named by PRESTAGER_TEST_RECORD, for tests to read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: stdout
short_description: record a run as JSON
description: For tests.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Collects failures, counts and set_stats values."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "record"

    def __init__(self) -> None:
        """Start with an empty record."""
        super().__init__()
        self._failures: list[str] = []
        self._results: dict[str, Any] = {}

    def v2_runner_on_ok(self, result: Any) -> None:
        """Keep each task's answer."""
        self._results[result._task.get_name()] = result._result

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: FBT002
        """Keep the message that an operator would see."""
        self._failures.append(str(result._result.get("msg")))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Treat an unreachable site as failed."""
        self._failures.append(str(result._result.get("msg")))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the record."""
        content = {
            "failures": self._failures,
            "changed": sum(stats.changed.values()),
            "stats": stats.custom.get("_run", {}),
            "results": self._results,
        }
        with Path(os.environ["PRESTAGER_TEST_RECORD"]).open("w", encoding="utf-8") as sink:
            json.dump(content, sink, default=str)
