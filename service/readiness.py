"""Readiness of a process: its checks, made together and seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from api.auth import Authenticator
from db.database import Database
from db.errors import why_unavailable
from db.heartbeats import missing_workers, served_queues
from db.migrate import current_revision, head_revision
from db.schema import controller
from service.wiring import Process

# Returns None when all is well, otherwise one sentence.
Check = Callable[[], str | None]
AsyncCheck = Callable[[], Awaitable[str | None]]

# How long a result counts, in seconds; all who ask meanwhile get the same.
_FRESH_S: Final = 1.0
# How long one check is waited for, in seconds: less than readiness as a whole is.
_PATIENCE_S: Final = 4.0


class SharedChecks:
    """Makes all checks together; requests while they are made, or within a second, share the result.

    A check that does not come back in time has that as its result, and is not begun again until it does: however long
    the database or the broker is silent, and however many ask, there is one thread for each check.

    Args:
        blocking: Checks by name, which block.
        asynchronous: Checks by name, which do not.
        patience_s: How long one is waited for, in seconds.
        clock: Monotonic time, in seconds.
    """

    def __init__(
        self,
        blocking: Mapping[str, Check],
        asynchronous: Mapping[str, AsyncCheck],
        *,
        patience_s: float = _PATIENCE_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._blocking = dict(blocking)
        self._asynchronous = dict(asynchronous)
        self._patience_s = patience_s
        self._clock = clock
        self._threads = ThreadPoolExecutor(max_workers=max(1, len(blocking)), thread_name_prefix="readiness")
        # Checks that are being made, those of before too that did not come back.
        self._made: dict[str, asyncio.Future[str | None]] = {}
        self._results: dict[str, str | None] = {}
        self._fresh_until = float("-inf")
        self._round: asyncio.Task[None] | None = None

    async def results(self) -> Mapping[str, str | None]:
        """Return the result of each check, at most a second old."""
        if self._clock() >= self._fresh_until:
            if self._round is None:
                self._round = asyncio.create_task(self._make())
            # One who hangs up must not end it for the others.
            await asyncio.shield(self._round)
        return self._results

    def close(self) -> None:
        """Make no more checks; those that block end by themselves. Repeating it does nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._round is not None:
            self._round.cancel()

    async def _make(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            for name, check in self._blocking.items():
                if name not in self._made:
                    self._made[name] = loop.run_in_executor(self._threads, check)
            for name, asynchronous in self._asynchronous.items():
                if name not in self._made:
                    self._made[name] = asyncio.ensure_future(asynchronous())
            _ = await asyncio.wait(self._made.values(), timeout=self._patience_s)
            self._results = {name: self._result(name) for name in (*self._blocking, *self._asynchronous)}
            self._fresh_until = self._clock() + _FRESH_S
        finally:
            self._round = None

    def _result(self, name: str) -> str | None:
        future = self._made[name]
        if not future.done():
            return f"does not answer within {self._patience_s:g} s"
        del self._made[name]
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            return f"the check itself failed ({type(error).__name__})"
        return future.result()


def process_checks(process: Process, authenticator: Authenticator) -> SharedChecks:
    """Return the checks of a process by its roles, its messaging and its authentication; the caller closes them."""
    database = process.database
    revision = head_revision()
    blocking: dict[str, Check] = {
        "database": partial(_database_error, database),
        "schema": partial(_schema_error, database, revision),
    }
    if process.worker is not None:
        # It looks at files, which may be on a network.
        blocking["playbooks"] = partial(process.worker.playbooks.obstacle, is_asked_only=True)
    blocking |= process.messaging.checks
    if process.settings.broker_url is not None and process.coordinator is not None:
        # Reported only: commands are taken, and wait in the database.
        blocking["workers"] = partial(_missing_workers, database)
    return SharedChecks(blocking, authenticator.checks)


def _database_error(database: Database) -> str | None:
    try:
        with database.read() as connection:
            connection.execute(select(controller.c.id))
    except SQLAlchemyError as error:
        return f"cannot be read: {why_unavailable(error) or 'it reports an error'}"
    return None


def _schema_error(database: Database, needed: str | None) -> str | None:
    try:
        revision = current_revision(database)
    except SQLAlchemyError:
        # The check of the database says it.
        return None
    return None if revision == needed else f"is {revision}; this program needs {needed}"


def _missing_workers(database: Database) -> str | None:
    try:
        with database.read() as connection:
            missing = missing_workers(served_queues(connection))
    except SQLAlchemyError:
        # The check of the database says it.
        return None
    return "; ".join(missing) or None
