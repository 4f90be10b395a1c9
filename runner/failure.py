"""Makes the one sentence about a failed run out of ansible-runner's events; never out of scraped output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Longest sentence, in characters.
DETAILS_LIMIT = 800

_NO_LOG = "the reason is hidden because the task sets no_log"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def task_failure(event: Mapping[str, Any]) -> str | None:
    """Return `task '<task>' on <host>: <message>` for an event of a task that failed, None for any other event."""
    data = event.get("event_data") or {}
    match event.get("event"):
        case "runner_on_failed" if not data.get("ignore_errors"):
            return _sentence(data, message(data.get("res") or {}))
        case "runner_on_unreachable":
            return _sentence(data, f"unreachable: {message(data.get('res') or {})}")
        case _:
            return None


def startup_failure(lines: list[str]) -> str | None:
    """Return the error that Ansible printed before any play began (a broken playbook, a missing role).

    Args:
        lines: texts of the events that belong to no task, oldest first.
    """
    errors = [index for index, line in enumerate(lines) if line.startswith(("[ERROR]:", "ERROR!"))]
    if not errors:
        return None
    first = errors[-1]
    text = lines[first].removeprefix("[ERROR]:").removeprefix("ERROR!").strip()
    origin = next((line for line in lines[first + 1 : first + 6] if line.startswith("Origin:")), "")
    return f"{text} ({origin.removeprefix('Origin:').strip()})" if origin else text


def message(res: Mapping[str, Any]) -> str:
    """Return the most telling text of a task's result."""
    if "censored" in res:
        return _NO_LOG
    for item in res.get("results") or []:
        # ansible-core 2.21 no longer says `failed` here, but it always brings an exception.
        if isinstance(item, dict) and (item.get("failed") or item.get("unreachable") or "exception" in item):
            return _item_message(item)
    text = _text(res.get("msg"))
    if "cmd" in res and res.get("rc"):
        # The wording of "non-zero return code" differs between releases of Ansible, and it says nothing.
        return _command_message(res)
    if text.startswith("MODULE FAILURE"):
        return f"the module crashed: {_last_line(res, 'module_stderr', 'module_stdout')}"
    return text or _last_line(res, "stderr", "stdout", "exception", "reason") or "no reason given"


def sentence(text: str) -> str:
    """Return `text` in one line, without control characters, cut in the middle to DETAILS_LIMIT characters."""
    flat = " ".join(_CONTROL.sub(" ", text).split())
    if len(flat) <= DETAILS_LIMIT:
        return flat
    # Messages of Ansible name the symptom first and the cause last: keep both ends.
    head = DETAILS_LIMIT * 2 // 3
    return f"{flat[:head]} ... {flat[head + 5 - DETAILS_LIMIT :]}"


def _sentence(data: Mapping[str, Any], text: str) -> str:
    return f"task '{data.get('task') or '?'}' on {data.get('host') or '?'}: {text}"


def _item_message(item: Mapping[str, Any]) -> str:
    if "censored" in item:
        return _NO_LOG
    label = item.get("_ansible_item_label", item.get("item"))
    return f"item {_text(label)!r}: {message(item)}"


def _command_message(res: Mapping[str, Any]) -> str:
    line = _last_line(res, "stderr", "stdout")
    return f"command returned {res.get('rc')}: {line}" if line else f"command returned {res.get('rc')}"


def _last_line(res: Mapping[str, Any], *keys: str) -> str:
    for key in keys:
        lines = [line.strip() for line in _text(res.get(key)).splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return str(value)
