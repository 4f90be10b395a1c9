"""Those who follow logs at this process: how many there are, whether they shall leave, and one look for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import structlog

from api.errors import RETRY_AFTER, ApiError
from api.stream.follower import Read
from db.run_output import ends_of
from db.unavailable import DatabaseUnavailableError

_log = structlog.get_logger(__name__)

# The database does not answer, or not in time.
NO_ANSWER: Final = (ApiError, DatabaseUnavailableError)

# Each is a connection.
_MOST: Final = 100
# Pause between two looks, in seconds.
_PAUSE_S: Final = 0.5


class LogFollowers:
    """Counts followers, looks for news of the runs that they wait for, and tells them when the service stops."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._count = 0
        self._closing = asyncio.Event()
        self._wanted: set[int] = set()
        self._looking: asyncio.Task[Mapping[int, int | None]] | None = None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            ApiError: 503; all are taken.
        """
        if self._count >= _MOST:
            detail = "Too many follow logs already; try again later."
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_AFTER)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def is_closing(self) -> bool:
        """Whether the service stops."""
        return self._closing.is_set()

    async def has_news(self, run_id: int, seen_bytes: int) -> bool:
        """Wait for the next look; tell whether a run has printed more than its first `seen_bytes` bytes, or ended."""
        self._wanted.add(run_id)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        # Shared: who hangs up must not take it from the others.
        ends = await asyncio.shield(self._looking)
        end = ends.get(run_id, seen_bytes)
        return end is None or end > seen_bytes

    async def _look(self) -> Mapping[int, int | None]:
        await self.pause(_PAUSE_S)
        wanted, self._wanted, self._looking = self._wanted, set(), None
        if self.is_closing:
            return {}
        try:
            return await self._read(lambda connection: ends_of(connection, wanted))
        except NO_ANSWER:
            _log.warning("log.store-away")
            return {}

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than the service goes on."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Have all followers leave."""
        self._closing.set()
