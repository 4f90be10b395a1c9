"""Decides whether a playbook that ended well did anything for its host: Ansible calls it a success in any case.

Reads ansible-runner's events. A play without tasks, a play for other hosts, and a site that was unreachable all along
while the playbook ignores that, all end with exit code 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runner.failure_text import failure_sentence

# Actions that never contact a site, whatever its connection; what they answer proves nothing about it.
_ON_THE_CONTROLLER: Final = frozenset(
    {
        "add_host",
        "assert",
        "debug",
        "fail",
        "group_by",
        "import_playbook",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "pause",
        "set_fact",
        "set_stats",
        "validate_argument_spec",
    }
)


class HostWork:
    """Takes the events of one run in and knows what came of them for its host."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._is_matched = False
        # Results of the host that are ok, changed or skipped, as the recap counts them.
        self._done = 0
        # The sentence about the last time that the site was unreachable, until a later task succeeds on it.
        self._unreachable = ""

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        data = event.get("event_data") or {}
        kind = event.get("event")
        if kind == "playbook_on_stats":
            self._done = _done(data, self._host)
        elif data.get("host") == self._host:
            self._is_matched = True
            if kind == "runner_on_unreachable":
                self._unreachable = failure_sentence(data, data.get("res") or {}, is_unreachable=True)
            elif kind == "runner_on_ok" and _is_from_the_site(data):
                # A failure is none: many actions fail on the controller, before they contact the site.
                self._unreachable = ""

    @property
    def problem(self) -> str:
        """Return why a playbook that ended without an error is no success; empty when it is one. May hold secrets."""
        if self._unreachable:
            return f"{self._unreachable}; the playbook ignores that, but nothing succeeded on the site afterwards"
        if self._done:
            return ""
        if not self._is_matched:
            return f"no play of the playbook is for {self._host}, or none that is has a task"
        return f"the playbook did nothing for {self._host}: no task of it was ok, changed or skipped"


def _done(recap: Mapping[str, Any], host: str) -> int:
    # Ansible counts errors that a playbook ignores as ok too.
    return _count(recap, "ok", host) - _count(recap, "ignored", host) + _count(recap, "skipped", host)


def _count(recap: Mapping[str, Any], name: str, host: str) -> int:
    count = (recap.get(name) or {}).get(host, 0)
    return count if isinstance(count, int) else 0


def _is_from_the_site(data: Mapping[str, Any]) -> bool:
    action = str(data.get("task_action") or "").rpartition(".")[2]
    return action not in _ON_THE_CONTROLLER and "_ansible_delegated_vars" not in (data.get("res") or {})
