"""Read the events table once for all listeners of this process, and send each event to those whose filter it passes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web
from sqlalchemy import Connection

from api.database_reader import DATABASE_ERRORS, Read
from db import read_queries
from messages.events import cloud_event, subclouds_of

# A comment, which keeps the connection alive through proxies that close silent ones.
HEARTBEAT: Final = b": still here\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event, ready to be sent to any number of listeners."""

    id: int
    type: str
    strategy_id: int | None
    subclouds: frozenset[str]
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Filter of events; None: any."""

    strategy_id: int | None = None
    subcloud: str | None = None
    # Beginning of an event's type, such as step.prestage.
    type: str | None = None

    @property
    def passes_all(self) -> bool:
        """Whether every event passes."""
        return self.strategy_id is None and self.subcloud is None and self.type is None

    def passes(self, frame: Frame) -> bool:
        """Return whether an event passes."""
        return (
            (self.strategy_id is None or frame.strategy_id == self.strategy_id)
            and (self.subcloud is None or self.subcloud in frame.subclouds)
            and (self.type is None or frame.type.startswith(self.type))
        )


def event_frame(row: Mapping[Any, Any], source: str) -> Frame:
    """Return the frame of an event's row."""
    kind, _, name = row["subject"].partition("/")
    strategy = int(name) if kind == "strategy" else row["data"].get("strategy")
    return Frame(
        id=row["id"],
        type=row["type"],
        strategy_id=strategy,
        subclouds=subclouds_of(row),
        content=frame(row["type"], cloud_event(row, source), event_id=row["id"]),
    )


def frame(event: str, data: Mapping[str, Any], *, event_id: int | None = None) -> bytes:
    """Return one message of the stream; with `event_id` a listener resumes after it."""
    number = b"" if event_id is None else b"id: %d\n" % event_id
    return b"%sevent: %s\ndata: %s\n\n" % (number, event.encode(), json.dumps(data, separators=(",", ":")).encode())


_log = structlog.get_logger(__name__)

# Events read at once.
_BATCH: Final = 500
# Bytes that may wait for one listener; some thousand events.
_WAITING_BYTES: Final = 2 * 1024 * 1024


class EventListener:
    """One client of the stream: bytes that wait to be sent, or the reason why the stream ends."""

    def __init__(self, wanted: Filter, seen: int) -> None:
        self.wanted = wanted
        # Number of the last event that was enqueued, or did not pass.
        self.seen = seen
        # Why the stream ends; None: it goes on.
        self.ended: str | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._something = asyncio.Event()

    def enqueue(self, frames: Sequence[Frame], everything: bytes) -> None:
        """Enqueue those events that are new and pass; `everything` is the content of all of them."""
        if self.ended is not None or not frames or frames[-1].id <= self.seen:
            return
        if self.wanted.passes_all and frames[0].id > self.seen:
            content = everything
        else:
            content = b"".join(one.content for one in frames if one.id > self.seen and self.wanted.passes(one))
        self.seen = frames[-1].id
        if not content:
            return
        self._size += len(content)
        if self._size > _WAITING_BYTES:
            self.end("too slow: more waited for this listener than is kept; resume by the last id")
            return
        self._waiting.append(content)
        self._something.set()

    def prepend(self, frames: Sequence[Frame]) -> None:
        """Put events before those that wait."""
        if frames and self.ended is None:
            self._waiting[:0] = [one.content for one in frames]
            self._something.set()

    def end(self, reason: str) -> None:
        """End the stream; bytes that wait are dropped. Of several reasons the first counts."""
        self.ended = self.ended or reason
        self._waiting.clear()
        self._something.set()

    async def take(self, longest_s: float) -> bytes:
        """Return the bytes that wait; empty when none came for `longest_s` seconds, or when the stream has ended."""
        try:
            async with asyncio.timeout(longest_s):
                await self._something.wait()
        except TimeoutError:
            return b""
        self._something.clear()
        content = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return content


class Follower:
    """Follows the events of one installation.

    Args:
        read: Runs a query.

        source: Returns the CloudEvents source.

        pause_s: Pause between two reads of the table, in seconds.
    """

    def __init__(self, read: Read, source: Callable[[Connection], str], pause_s: float = 0.3) -> None:
        self._read = read
        self._source_of = source
        self._source: str | None = None
        self._pause_s = pause_s
        self._listeners: set[EventListener] = set()
        self._task: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()
        # Number of the last event that was dispatched.
        self._seen = 0

    @property
    def listeners(self) -> int:
        """Number of listeners."""
        return len(self._listeners)

    async def attach(self, wanted: Filter, seen: int) -> EventListener:
        """Return a listener that gets every event after number `seen`.

        Raises:
            ApiError: 503; the database does not answer.
        """
        await self._begin()
        # From here on new events are enqueued; earlier ones are put in front of them.
        known = self._seen
        listener = EventListener(wanted, max(seen, known))
        self._listeners.add(listener)
        try:
            await self._catch_up(listener, seen, known)
        except BaseException:
            self.detach(listener)
            raise
        return listener

    def detach(self, listener: EventListener) -> None:
        """Remove a listener. A repeat does nothing."""
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        """End every stream."""
        for listener in [*self._listeners]:
            listener.end("the service is stopping; listen again")

    async def _begin(self) -> None:
        """Start to follow, unless there is a listener already."""
        async with self._beginning:
            if self._source is None:
                self._source = await self._read(self._source_of)
            if self._task is None:
                self._seen = await self._read(read_queries.newest_event_id)
                self._task = asyncio.create_task(self._follow())

    async def _catch_up(self, listener: EventListener, seen: int, known: int) -> None:
        """Put the events between two numbers before those that came meanwhile."""
        missed: list[Frame] = []
        while seen < known:
            frames = await self._frames_after(seen)
            missed += [one for one in frames if one.id <= known]
            if not frames or frames[-1].id >= known:
                break
            seen = frames[-1].id
        listener.prepend([one for one in missed if listener.wanted.passes(one)])

    async def _frames_after(self, seen: int) -> list[Frame]:
        source = self._source or ""
        return await self._read(
            lambda connection: [event_frame(row, source) for row in read_queries.events_after(connection, seen, _BATCH)]
        )

    async def _follow(self) -> None:
        while True:
            try:
                while frames := await self._frames_after(self._seen):
                    self._dispatch(frames)
            except DATABASE_ERRORS:
                # The events are kept in the database until it answers.
                _log.warning("stream.store-away")
            except Exception:  # noqa: BLE001 - the top of a task
                _log.exception("stream.failed")
            await asyncio.sleep(self._pause_s)

    def _dispatch(self, frames: Sequence[Frame]) -> None:
        self._seen = frames[-1].id
        everything = b"".join(one.content for one in frames)
        for listener in self._listeners:
            listener.enqueue(frames, everything)


FOLLOWER: Final = web.AppKey("follower", Follower)
