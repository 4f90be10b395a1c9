"""Reading from the database without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection

from api.errors import RETRY_AFTER, ApiError
from db.database import Database
from db.errors import DatabaseUnavailableError

_T = TypeVar("_T")

# Concurrent reads; others wait. Few, because rendering holds Python's lock anyway.
_THREADS: Final = 4
# How long to wait for a silent database, in seconds: behind a network partition it is silent for ever.
DATABASE_TIMEOUT_S: Final = 5.0

# Errors of a database that does not answer, or not in time.
DATABASE_ERRORS: Final = (ApiError, DatabaseUnavailableError)


class Read(Protocol):
    """Runs a query in a thread, in bounded time."""

    def __call__(self, query: Callable[[Connection], _T]) -> Awaitable[_T]:
        """Return the result of the query.

        Raises:
            ApiError: 503; the database does not answer.
        """


class DatabaseReader:
    """Runs queries in a few threads of its own. No thread starts before the first query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="api-read")

    async def run(self, query: Callable[[Connection], _T]) -> _T:
        """Return the result of `query` with a reading connection, run in a thread; its exceptions pass through.

        Raises:
            ApiError: 503 when the database did not answer in time; the thread comes back when the database does.
        """
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)
        except TimeoutError:
            detail = "The database does not answer."
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_AFTER) from None

    def _run(self, query: Callable[[Connection], _T]) -> _T:
        with self._database.read() as connection:
            return query(connection)

    def close(self) -> None:
        """Let running queries end and take no more. A repeat does nothing."""
        self._threads.shutdown(wait=True, cancel_futures=True)
