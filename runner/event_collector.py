"""Read ansible-runner's events: facts of a run, whether it did anything for its host, and its output within bounds."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from messages.limits import PRESTAGE_VERSIONS, left_out_note
from runner.failure_text import failure_sentence, sentence, startup_failure
from runner.masking import MaskedStream, Masker

HEAD_LIMIT_BYTES = 1024 * 1024
TAIL_LIMIT_BYTES = 3 * 1024 * 1024

# Longest piece handed on at once, in characters: keeps lines of the report pipe short.
_PIECE_LENGTH = 32 * 1024

# Gets a piece that is held back, and its place in the whole text in bytes.
OnHeld = Callable[[int, str], None]


class BoundedText:
    """Passes text through until the head is full, then holds back the newest text only.

    Sizes are UTF-8 bytes. A piece longer than the limits is cut in parts first, so both limits hold within one part.

    Attributes:
        head_bytes: how much was passed through.

        cut_bytes: how much of what came after that is not kept.
    """

    def __init__(
        self,
        head_limit_bytes: int = HEAD_LIMIT_BYTES,
        tail_limit_bytes: int = TAIL_LIMIT_BYTES,
        on_held: OnHeld = lambda _at, _piece: None,
    ) -> None:
        self.head_bytes = 0
        self.cut_bytes = 0
        self._head_room = head_limit_bytes
        self._tail_limit = tail_limit_bytes
        self._on_held = on_held
        self._tail: deque[tuple[str, int]] = deque()
        self._tail_size = 0

    def add(self, text: str) -> Iterator[str]:
        """Take `text` in and yield the pieces that may be passed on now."""
        for piece in _pieces(text):
            size = len(piece.encode("utf-8", "replace"))
            if size <= self._head_room:
                self._head_room -= size
                self.head_bytes += size
                yield piece
            else:
                self._head_room = 0
                self._hold_back(piece, size)

    def finish(self) -> Iterator[str]:
        """Yield the line about the gap, if there is one, and the end of the text."""
        if self.cut_bytes:
            yield left_out_note(self.cut_bytes)
        while self._tail:
            yield self._tail.popleft()[0]

    def _hold_back(self, piece: str, size: int) -> None:
        self._on_held(self.head_bytes + self.cut_bytes + self._tail_size, piece)
        self._tail.append((piece, size))
        self._tail_size += size
        while self._tail_size > self._tail_limit:
            _, dropped = self._tail.popleft()
            self._tail_size -= dropped
            self.cut_bytes += dropped


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE_LENGTH):
        yield text[start : start + _PIECE_LENGTH]


# How upstream's packages playbook says, in the message of a task, what is on the site (contract 10).
_VERSIONS_TOLD = f"{PRESTAGE_VERSIONS}:"

# How many texts outside of tasks are remembered, to find the reason when no play begins.
_REMEMBERED_LINES = 200

FACTS_LIMIT_BYTES = 256 * 1024

# PostgreSQL stores neither of these in a JSON value.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

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


class EventCollector:
    """Reads events one by one; `say` gets each masked piece of output that may be passed on now.

    `hold` gets each masked piece that is held back until the end, and its place in all that was printed, in bytes.

    Attributes:
        complete: the playbook reached its recap.

        lost_events: events whose data never arrived, which happens when the file system is full.

        task: the name of the task that began last.
    """

    def __init__(self, masker: Masker, say: Callable[[str], None], hold: OnHeld = lambda _at, _piece: None) -> None:
        self.complete = False
        self.lost_events = 0
        self.task = ""
        self._masker = masker
        self._stream = MaskedStream(masker)
        self._say = say
        self._output = BoundedText(on_held=hold)
        self._facts: dict[str, Any] = {}
        self._versions: str | None = None
        self._loose_lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        self._take_output(str(event.get("stdout") or ""))
        kind = event.get("event")
        data = event.get("event_data") or {}
        if kind is None:
            self.lost_events += 1
        elif kind == "playbook_on_task_start":
            self.task = self._masker.text(str(data.get("task") or data.get("name") or ""))
        elif kind == "playbook_on_stats":
            self._take_stats(data)
        elif kind == "runner_on_ok":
            self._take_message(data.get("res") or {})
        elif kind in ("verbose", "error"):
            self._loose_lines.extend(str(event.get("stdout") or "").splitlines())

    def finish(self) -> Iterator[str]:
        """Yield the end of the output, which was held back."""
        yield from self._output.add(self._plain(self._stream.finish()))
        yield from self._output.finish()

    @property
    def left_out(self) -> tuple[int, int]:
        """Offset and length of the part of the output that is left out, in bytes; (0, 0) when it is whole."""
        return (self._output.head_bytes, self._output.cut_bytes) if self._output.cut_bytes else (0, 0)

    @property
    def facts(self) -> dict[str, Any]:
        """Values of the playbook's set_stats; empty when they were too long.

        The versions in a task's message are among them, unless set_stats has that name too.
        """
        told = {PRESTAGE_VERSIONS: self._versions} if self._versions else {}
        return {**told, **self._facts}

    @property
    def startup_failure(self) -> str:
        """The error that Ansible printed outside of tasks; empty when there is none."""
        return sentence(startup_failure(self._masked_loose_lines()) or "")

    def note(self, text: str) -> None:
        """Add a line of our own to the output."""
        self._take_output(f"[prestager] {text}")

    def _take_output(self, text: str) -> None:
        if text:
            for piece in self._output.add(self._plain(self._stream.feed(text + "\n"))):
                self._say(piece)

    @staticmethod
    def _plain(text: str) -> str:
        return text.replace("\r\n", "\n")

    def _masked_loose_lines(self) -> list[str]:
        """Mask the lines as one text, for Ansible wraps its warnings; each stays a line of its own."""
        return [str(line) for line in self._masker.value(list(self._loose_lines))]

    def _take_message(self, result: Mapping[str, Any]) -> None:
        text = result.get("msg")
        if isinstance(text, str) and text.startswith(_VERSIONS_TOLD):
            self._versions = sentence(self._masker.text(text.removeprefix(_VERSIONS_TOLD)))

    def _take_stats(self, data: Mapping[str, Any]) -> None:
        self.complete = True
        facts = self._masker.value(json_safe(data.get("artifact_data") or {}))
        size = size_bytes(facts)
        if size <= FACTS_LIMIT_BYTES:
            self._facts = facts
        else:
            self.note(f"set_stats values dropped: {size} bytes, more than {FACTS_LIMIT_BYTES}")


def json_safe(value: Any) -> Any:
    """Return `value` with numbers that JSON lacks as None and characters that databases refuse replaced."""
    if isinstance(value, dict):
        return {_UNSTORABLE.sub("\ufffd", str(key)): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def size_bytes(facts: dict[str, Any]) -> int:
    """Return how much room `facts` take as JSON."""
    return len(json.dumps(facts))


class HostWork:
    """Decides whether a playbook that ended well did anything for its host; Ansible calls it a success in any case.

    A play without tasks, a play for other hosts, and a site that was unreachable all along while the playbook ignores
    that, all end with exit code 0.
    """

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
    def is_unreachable(self) -> bool:
        """Whether the site was unreachable, and nothing succeeded on it afterwards."""
        return bool(self._unreachable)

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
