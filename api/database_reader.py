"""Reading from the database without holding up the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final, TypeVar

from aiohttp import web
from sqlalchemy import Connection

from api.errors import RETRY_AFTER, ApiError
from db.database import Database

_T = TypeVar("_T")

# Reads at once; the rest wait their turn. Small, for rendering holds Python's lock anyway.
_THREADS: Final = 4
# How long a database that says nothing is waited for, in seconds: behind a partition it says nothing for ever.
STORE_PATIENCE_S: Final = 5.0


class DatabaseReader:
    """Runs queries in a few threads of its own. No thread starts before the first query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="api-read")

    async def run(self, query: Callable[[Connection], _T]) -> _T:
        """Return what `query` makes of a reading connection, in a thread; its exceptions come through.

        Raises:
            ApiError: 503 when the database did not answer in time; the thread comes back when the database does.
        """
        try:
            async with asyncio.timeout(STORE_PATIENCE_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)
        except TimeoutError:
            detail = "The database does not answer."
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_AFTER) from None

    def _run(self, query: Callable[[Connection], _T]) -> _T:
        with self._database.read() as connection:
            return query(connection)

    def close(self) -> None:
        """Let running queries end and take no more. Repeating it does nothing."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def encode(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()


def encode_list(key: str, items: Iterable[Mapping[str, Any]]) -> bytes:
    """Return `{key: [items]}` as JSON, item by item.

    One call for thousands of items would hold Python's lock, and with it the event loop, for tens of milliseconds.
    """
    return b"{%s: [%s]}" % (encode(key), b", ".join(encode(item) for item in items))


def json_answer(body: bytes) -> web.Response:
    """Return the answer 200 with JSON that is encoded already."""
    return web.Response(body=body, content_type="application/json")
