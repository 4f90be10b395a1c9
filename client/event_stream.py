"""The stream of events: read in a thread of its own, taken up again where it broke off."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Final, Self

from client.api_client import ApiClient
from client.errors import ClientError, RefusedError

SNAPSHOT: Final = "snapshot"
_DROPPED: Final = "dropped"
_PATH: Final = "events"
# Between two tries to connect, in seconds.
_PAUSE_S: Final = 1.0
# The service sends something every 15 s; a connection that is silent for longer is dead.
_SILENCE_S: Final = 40.0


@dataclass(frozen=True, kw_only=True)
class EventMessage:
    """A message of the stream.

    Attributes:
        kind: `snapshot`, or the type of an event.

        number: Where the stream goes on after it; empty: it has no place.

        data: The snapshot, or what the event says.

        content: The whole message, with moment and subject of an event.
    """

    kind: str
    number: str
    data: Any
    content: Any = None


class FollowedEvents:
    """Messages of the stream, as a context; a broken connection is made anew, without a gap and a repeat.

    Where the service keeps no events since the break, a snapshot comes. A service that refuses the stream is not asked
    again; `is_refused` says so then.

    Args:
        api: The API.

        last: Number of the event after which it begins; empty: with a snapshot.

        filters: Parameters of the stream, such as `strategy`, the id of one.
    """

    def __init__(self, api: ApiClient, *, last: str = "", **filters: str | int) -> None:
        self._api = api
        self._filters = filters
        self._messages: SimpleQueue[EventMessage] = SimpleQueue()
        self._is_over = Event()
        self._last = last
        self.is_connected = False
        self.is_refused = False

    def __enter__(self) -> Self:
        """Begin to listen."""
        # The connection that it reads is of no use to anybody once the command ends.
        Thread(target=self._listen, name="events", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Connect no more."""
        self._is_over.set()

    def take(self, timeout_s: float) -> EventMessage | None:
        """Return the next message, which may be waited for; None: none came in time."""
        try:
            return self._messages.get(timeout=max(0.0, timeout_s))
        except Empty:
            return None

    def _listen(self) -> None:
        while not self._is_over.is_set():
            try:
                self._follow()
            except RefusedError:
                self.is_refused = True
                return
            except ClientError:
                # The reader's own requests meet the same fault, and say so.
                pass
            finally:
                self.is_connected = False
            self._is_over.wait(_PAUSE_S)

    def _follow(self) -> None:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        with self._api.listen(_PATH, headers=headers, silence_s=_SILENCE_S, **self._filters) as lines:
            self.is_connected = True
            for message in read_messages(lines):
                if message.kind == _DROPPED:
                    return
                self._last = message.number or self._last
                self._messages.put(message)


def read_messages(lines: Iterable[bytes]) -> Iterator[EventMessage]:
    """Yield the messages of Server-Sent Events; one that is cut off is left out. Of an event the data is its `data`."""
    fields: dict[str, str] = {}
    for line in lines:
        text = line.decode(errors="replace").rstrip("\r\n")
        name, _, value = text.partition(":")
        if name:
            fields[name] = fields[name] + "\n" + value.removeprefix(" ") if name in fields else value.removeprefix(" ")
        elif not text:
            if "data" in fields:
                yield _message(fields)
            fields = {}


def _message(fields: dict[str, str]) -> EventMessage:
    kind = fields.get("event", "")
    content = json.loads(fields["data"])
    data = content if kind in {SNAPSHOT, _DROPPED} else content["data"]
    return EventMessage(kind=kind, number=fields.get("id", ""), data=data, content=content)
