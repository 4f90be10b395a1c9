"""Those who follow logs at this process: how many there are, and whether they shall leave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from api.errors import RETRY_AFTER, ApiError

# Each is a connection, and looks at the database twice a second.
_MOST: Final = 100


class LogFollowers:
    """Counts followers and tells them when the service stops."""

    def __init__(self) -> None:
        self._count = 0
        self._closing = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            ApiError: 503; all are taken.
        """
        if self._count >= _MOST:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE, "Too many follow logs already; try again later.", RETRY_AFTER
            )
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
