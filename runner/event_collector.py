"""Takes ansible-runner's events as they come and keeps of them what a result needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from messages.serializers import PRESTAGE_VERSIONS
from runner.bounded_text import BoundedText, OnHeld
from runner.failure_text import sentence, startup_failure
from runner.json_facts import FACTS_LIMIT_BYTES, json_safe, size_bytes
from runner.masking import MaskedStream, Masker

# How upstream's packages playbook says, in the message of a task, what is on the site (contract 10).
_VERSIONS_TOLD = f"{PRESTAGE_VERSIONS}:"

# How many texts outside of tasks are remembered, to find the reason when no play begins.
_REMEMBERED_LINES = 200


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
        """Where something of the output is left out, and how much, in bytes; (0, 0) when it is whole."""
        return (self._output.head_bytes, self._output.cut_bytes) if self._output.cut_bytes else (0, 0)

    @property
    def facts(self) -> dict[str, Any]:
        """What the playbook handed back by set_stats; empty when that was too much.

        The versions that a task's message told are among them, unless set_stats has that name too.
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
