"""The sentence about a failed run and its class, made of what its tasks answered; never out of scraped output.

Also reads the file in which our Ansible callback keeps the failures that are the reason of a failed run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runner.masking import Masker
from statemachine.failure_classes import class_of_code, class_of_message
from statemachine.problems import Failure, failure

# Longest sentence, in characters.
DETAILS_LIMIT = 800

# Of several failures: how many are named, and how much of the first, in characters.
_MOST_TOLD = 3
_FIRST_LIMIT = 480
_THEN = "; then "

# An error that Ansible before 2.19 prints outside of tasks has several lines.
_OLDER_ERROR = "ERROR!"
_OLDER_LINES = 16
# How Ansible before 2.19 says where an error is; what follows quotes the file and guesses.
_OLDER_PLACE = re.compile(
    r"\s*The error appears to (?:be|have been) in '([^'\n]+)': line (\d+), column (\d+), but may\s+be elsewhere.*",
    re.DOTALL,
)
# It tries JSON before YAML.
_OLDER_YAML = re.compile(
    r"We were unable to read either as JSON nor YAML.*?Syntax Error while loading YAML\.", re.DOTALL
)

_NO_LOG = "the reason is hidden because the task sets no_log"
# How ssh ends where no login of those that the site takes was good.
_REFUSED_LOGIN = re.compile(r"(?P<login>\S+@\S+): Permission denied \((?P<methods>[a-z0-9@.,-]+)\)\.\s*\Z")
# How Ansible begins where it could not send a module into the connection; elsewhere it says the second.
_NOT_SENT = re.compile(r"Data could not be sent to remote host \".*?\"\. Make sure this host can be reached over ssh:")
_NOT_CONNECTED = "Failed to connect to the host via ssh:"
# All that Ansible says of a command that failed.
_NON_ZERO = "non-zero return code"
# How ansible-core 2.19 and later begin.
_TASK_FAILED = "Task failed: "
# Key of a module's answer that names the class; also in module_utils/prestage/results.py and in the callback.
FAILURE_CLASS: Final = "failure_class"
# What Ansible says where a module answered nothing, as when sudo did not start it; and a line of ssh that says nothing.
_NO_RESULT = "Module result deserialization failed"
_CLOSED = "Shared connection to"
# How Ansible begins where sshpass, by which it logs in before 2.19, was asked for the password again.
_REFUSED_BY_SSHPASS = ("Invalid/incorrect password:", "Invalid/incorrect username/password.")
_OTHER_PASSWORD = "Try again with the site's own as sysadmin_password"  # noqa: S105 - what to do
_PASSWORD_METHODS = frozenset({"password", "keyboard-interactive"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# Environment variable that names the file to the callback; also in callback_plugins/prestager_failures.py, which
# imports nothing of ours because Ansible loads it.
FAILURES_VARIABLE: Final = "PRESTAGER_FAILURES_FILE"


def failure_sentence(task: Mapping[str, Any], result: Mapping[str, Any], *, is_unreachable: bool) -> str:
    """Return `task '<task>' on <host>: <message>`.

    Args:
        task: `task` and `host`, the names of both.

        result: what the task answered.

        is_unreachable: Ansible could not reach the host.
    """
    text = message(result)
    if is_unreachable:
        text = f"unreachable: {_unreachable(text, str(task.get('host') or 'NAME'))}"
    return f"task '{task.get('task') or '?'}' on {task.get('host') or '?'}: {text}"


def task_failure(
    task: Mapping[str, Any], result: Mapping[str, Any], *, is_unreachable: bool, names: Iterable[str] = ()
) -> Failure:
    """Return the failure of a task: its class is the one that a module of ours names, else Ansible's event says it.

    Args:
        task: As for `failure_sentence`.

        result: What the task answered, without secrets.

        is_unreachable: Ansible could not reach the host.

        names: Names and addresses of the site beside that of the host.
    """
    item = _failed_item(result)
    told = message(item)
    host = str(task.get("host") or "")
    told = told.removeprefix(_TASK_FAILED)
    text = _unreachable(told, host or "NAME") if is_unreachable else told
    kind = class_of_code(item.get(FAILURE_CLASS)) or class_of_message(text, is_unreachable=is_unreachable)
    return failure(_cause(text), failure_class=kind, task=str(task.get("task") or ""), names=(host, *names))


def _failed_item(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the first item of a loop that failed answered; without a loop the result itself."""
    failed = (item for item in result.get("results") or [] if isinstance(item, Mapping) and _has_failed(item))
    return next(failed, result)


def _cause(text: str) -> str:
    """Return the last line of ssh, before which it warns and greets; any other text as it is."""
    if not text.startswith(_NOT_CONNECTED):
        return text
    lines = [line.strip() for line in text.removeprefix(_NOT_CONNECTED).splitlines() if line.strip()]
    return lines[-1] if lines else text


def joined(sentences: Sequence[str]) -> str:
    """Return several failures as one text: `<first>; then <second>`, the first of them longest.

    Each is cut, so that the first does not hide the others.
    """
    if len(sentences) < 2:  # noqa: PLR2004
        return "".join(sentences)
    first, *others = sentences[:_MOST_TOLD]
    left = DETAILS_LIMIT - _FIRST_LIMIT
    cut = [_cut(text, left // len(others) - len(_THEN)) for text in others]
    return _THEN.join([_cut(first, _FIRST_LIMIT), *cut])


def startup_failure(lines: list[str]) -> str | None:
    """Return the error that Ansible printed before any play began (a broken playbook, a missing role).

    Args:
        lines: texts of the events that belong to no task, oldest first.
    """
    errors = [index for index, line in enumerate(lines) if line.startswith(("[ERROR]:", _OLDER_ERROR))]
    if not errors:
        return None
    first = errors[-1]
    if lines[first].startswith(_OLDER_ERROR):
        return _older("\n".join(lines[first : first + _OLDER_LINES]).removeprefix(_OLDER_ERROR)).strip()
    text = lines[first].removeprefix("[ERROR]:").strip()
    origin = next((line for line in lines[first + 1 : first + 6] if line.startswith("Origin:")), "")
    return f"{text} ({origin.removeprefix('Origin:').strip()})" if origin else text


def message(res: Mapping[str, Any]) -> str:
    """Return the most telling text of a task's result."""
    if "censored" in res:
        return _NO_LOG
    item = _failed_item(res)
    if item is not res:
        return _item_message(item)
    text = _older(_text(res.get("msg")))
    if ("cmd" in res or text == _NON_ZERO) and res.get("rc"):
        # The wording of "non-zero return code" differs between releases of Ansible, and it says nothing.
        return _command_message(res)
    if text.startswith("MODULE FAILURE"):
        return f"the module crashed: {_last_line(res, 'module_stderr', 'module_stdout')}"
    if (
        _NO_RESULT in text
        and (line := _last_line(res, "module_stderr", "module_stdout"))
        and not line.startswith(_CLOSED)
    ):
        return f"{text}; {line}"
    return text or _last_line(res, "stderr", "stdout", "exception", "reason") or "no reason given"


def with_remark(text: str, remark: str) -> str:
    """Return `<text>; <remark>`; `text` is cut, so that the remark is whole."""
    return f"{_cut(text, DETAILS_LIMIT - len(remark) - 2)}; {remark}" if text else remark


def sentence(text: str) -> str:
    """Return `text` in one line, without control characters, cut in the middle to DETAILS_LIMIT characters."""
    return _cut(text, DETAILS_LIMIT)


def _cut(text: str, limit: int) -> str:
    flat = " ".join(_CONTROL.sub(" ", text).split())
    if len(flat) <= limit:
        return flat
    # Messages of Ansible name the symptom first and the cause last: keep both ends.
    head = limit * 2 // 3
    return f"{flat[:head]} ... {flat[head + 5 - limit :]}"


def _older(text: str) -> str:
    """Return a text of Ansible with the place of an error as today's Ansible writes it."""
    return _OLDER_PLACE.sub(r" (\1:\2:\3)", _OLDER_YAML.sub("YAML parsing failed:", text))


def _unreachable(text: str, host: str) -> str:
    refused = _REFUSED_LOGIN.search(text)
    if refused is not None:
        return _refused_login(refused["login"], refused["methods"])
    if text.startswith(_REFUSED_BY_SSHPASS):
        return f"the site refused the login with this password. {_OTHER_PASSWORD}"
    # The last line of ssh, after a picture of what may have happened.
    if not text.rstrip().endswith("Host key verification failed."):
        return _NOT_SENT.sub(_NOT_CONNECTED, text, count=1)
    return (
        "the server at the site's address does not have the recorded SSH host key, and was sent no password."
        " Try again to have the keys compared; if the site was reinstalled, run:"
        f" prestager subcloud forget-host-key {host}"
    )


def _refused_login(login: str, methods: str) -> str:
    if _PASSWORD_METHODS.isdisjoint(methods.split(",")):
        return (
            f"the site takes no passwords from {login} (only {methods}). Allow them in the configuration of its SSH"
            " server, then try again"
        )
    return f"the site refused the login {login} with this password. {_OTHER_PASSWORD}"


def _has_failed(item: Mapping[str, Any]) -> bool:
    # ansible-core 2.21 no longer says `failed` here, but it always brings an exception.
    return bool(item.get("failed") or item.get("unreachable") or "exception" in item)


def _item_message(item: Mapping[str, Any]) -> str:
    if "censored" in item:
        return _NO_LOG
    label = item.get("_ansible_item_label", item.get("item"))
    return f"item {_text(label)!r}: {message(item)}"


def _command_message(res: Mapping[str, Any]) -> str:
    line = _last_line(res, "stderr", "stdout")
    return f"command returned {res.get('rc')}: {line}" if line else f"command returned {res.get('rc')}"


def _last_line(res: Mapping[str, Any], *keys: str) -> str:
    """Return the last line of the first of these texts that says something; ssh's about its end only if none does."""
    lines = [[line.strip() for line in _text(res.get(key)).splitlines() if line.strip()] for key in keys]
    told = [[line for line in of_key if not line.startswith(_CLOSED)] for of_key in lines]
    return next((of_key[-1] for of_key in (*told, *lines) if of_key), "")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return str(value)


@dataclass(frozen=True, kw_only=True)
class FailedTask:
    """A task that failed, without secrets."""

    # As `failure_sentence` returns it.
    sentence: str
    failure: Failure


def read_failures(file: Path, masker: Masker, names: Iterable[str] = ()) -> list[FailedTask]:
    """Return each failure, oldest first, without secrets. No file means no failure.

    Records are masked whole: a sentence is made of parts, and in a part half a secret would not be known.

    Args:
        file: Written by our callback.

        masker: Knows the secrets of the run.

        names: Names and addresses of the site, which make no other problem.
    """
    try:
        records = json.loads(file.read_text())
    except (OSError, ValueError):
        return []
    known = tuple(names)
    return [_failed_task(masker.value(record), known) for record in records]


def _failed_task(record: Mapping[str, Any], names: tuple[str, ...]) -> FailedTask:
    result, is_unreachable = record["result"], record["unreachable"]
    return FailedTask(
        sentence=failure_sentence(record, result, is_unreachable=is_unreachable),
        failure=task_failure(record, result, is_unreachable=is_unreachable, names=names),
    )
