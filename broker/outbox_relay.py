"""The outbox relay: publishes the messages of committed transactions, then deletes their rows.

At least once: a crash between publish and delete publishes again, and every receiver recognises a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Condition, Event
from time import monotonic
from typing import Final

import structlog
from sqlalchemy import bindparam, delete, or_, select

from db.database import Database
from db.errors import DatabaseUnavailableError
from db.schema import database_now, outbox
from messages.queues import CANCEL_RUNS, QUEUE_OF, Call

_log = structlog.get_logger(__name__)

_BATCH: Final = 500
_KNOWN: Final = frozenset({*QUEUE_OF, CANCEL_RUNS})
# Seconds of the database's clock after which a row of another process is stale.
_STALE_S: Final = 5.0
# Seconds between two looks into the outbox.
_SCAN_S: Final = 5.0
# Messages on their way to the broker at once; those above it are left in the outbox, to be found there.
_MOST_ON_WAY: Final = 2000
# How long rows of published messages are collected before they are deleted together, in seconds. Far below `_STALE_S`,
# after which other processes would publish them again.
_COLLECT_S: Final = 0.25
# Longest wait for the broker's answer, in seconds; a publisher bounds its work itself, by less.
_CONFIRM_S: Final = 10.0

_DELETE: Final = delete(outbox).where(outbox.c.id.in_(bindparam("rows", expanding=True)))

# Begins to publish; the future ends when all are confirmed, or at least one is not.
Publish = Callable[[Sequence[Call]], Future[None]]


class OutboxRelay:
    """Publishes messages of this process as they are committed, and rows of the outbox that nothing else publishes.

    `take` gets messages from the memory of the transaction that wrote them. `relay`, the work of a thread, deletes the
    rows of confirmed messages in one statement, and every few seconds looks for rows of this process (`writer`) that
    were not published, and for rows of others that were left for 5 s: their process died. So many relays work beside
    each other without waiting for a lock. While the broker cannot be reached, or too many messages are on their way,
    messages are left to that look, so their number in memory is bounded.
    """

    def __init__(
        self, database: Database, publish: Publish, writer: str = "", *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._database = database
        self._publish = publish
        self._writer = writer
        self._clock = clock
        # Has the thread of `relay` run it soon.
        self.wake: Callable[[], None] = lambda: None
        self._changed = Condition()
        # Ids of rows whose messages are being published, and of those whose messages are confirmed.
        self._on_way: set[int] = set()
        self._confirmed: list[int] = []
        # Whether messages are left in the outbox, to be found by `relay`.
        self._is_behind = False
        self._scan_at = -1.0
        self._hurry = Event()

    def take(self, calls: Sequence[Call], rows: Sequence[int]) -> None:
        """Begin to publish the messages of a committed transaction; callable from any thread, returns soon.

        Args:
            calls: The messages, in their order.

            rows: Ids of their rows in the outbox, in any order; none where messages are not written there.
        """
        with self._changed:
            is_left = bool(rows) and (self._is_behind or len(self._on_way) + len(rows) > _MOST_ON_WAY)
            self._is_behind |= is_left
            if not is_left:
                self._on_way.update(rows)
        if is_left:
            self._look_soon()
            return
        try:
            self._publish(_merged(calls)).add_done_callback(partial(self._settle, rows))
        except Exception:  # noqa: BLE001 - the transaction is committed; its rows are found again
            _log.exception("outbox.unpublished")
            self._fail(rows)

    def _settle(self, rows: Sequence[int], published: Future[None]) -> None:
        if published.cancelled() or published.exception() is not None:
            self._fail(rows)
            return
        with self._changed:
            is_first = not self._confirmed
            self._on_way.difference_update(rows)
            self._confirmed += rows
            self._changed.notify_all()
        if is_first and rows:
            self.wake()

    def _fail(self, rows: Sequence[int]) -> None:
        with self._changed:
            self._is_behind = True
            self._on_way.difference_update(rows)
            self._changed.notify_all()
        self._look_soon()

    def _look_soon(self) -> None:
        self._hurry.set()
        self.wake()

    def relay(self) -> None:
        """Delete rows of confirmed messages and, when it is time or messages were left, publish what is found.

        Raises:
            DatabaseUnavailableError: The database is away.
            Any error of the publisher: at least one message was not confirmed. Its row stays, to be tried again.
        """
        if not self._is_scan_due():
            self._hurry.wait(_COLLECT_S)
        self._hurry.clear()
        self._delete_confirmed()
        if self._is_scan_due():
            self._scan()

    def stop(self) -> None:
        """Wait for messages that are on their way and delete their rows, as far as broker and database answer."""
        with self._changed:
            self._changed.wait_for(lambda: not self._on_way, _CONFIRM_S)
        with suppress(DatabaseUnavailableError):
            self._delete_confirmed()

    def hurry(self) -> None:
        """Have a `relay` that collects rows go on at once."""
        self._hurry.set()

    def _is_scan_due(self) -> bool:
        return self._is_behind or self._clock() >= self._scan_at

    def _scan(self) -> None:
        """Publish all rows that this relay may publish, in order."""
        self._publish_rows()
        if self._is_behind:
            with self._changed:
                self._is_behind = False
            try:
                # What was committed meanwhile.
                self._publish_rows()
            except BaseException:
                self._is_behind = True
                raise
        self._scan_at = self._clock() + _SCAN_S

    def _publish_rows(self) -> None:
        last: int | None = -1
        while last is not None:
            last = self._publish_batch(last)

    def _publish_batch(self, after: int) -> int | None:
        """Publish rows with ids above `after`; return the highest one, None when there are no more."""
        is_stale = outbox.c.written_at < database_now() - _STALE_S
        # The clock may have been set back since.
        is_from_the_future = outbox.c.written_at > database_now() + _STALE_S
        with self._database.read() as connection:
            found = connection.execute(
                select(outbox.c.id, outbox.c.actor, outbox.c.argument, outbox.c.trace)
                .where(outbox.c.id > after, or_(outbox.c.writer == self._writer, is_stale, is_from_the_future))
                .order_by(outbox.c.id)
                .limit(_BATCH)
            ).all()
        with self._changed:
            known = {*self._on_way, *self._confirmed}
        rows = [row for row in found if row.id not in known]
        if rows:
            calls = _merged(Call(row.actor, row.argument, row.trace) for row in rows)
            # Of another version of the program. The plan dispatches the work again.
            if unknown := {call.actor for call in calls} - _KNOWN:
                _log.error("outbox.unknown-actor", actors=sorted(unknown))
            self._publish([call for call in calls if call.actor not in unknown]).result(_CONFIRM_S)
            with self._changed:
                self._confirmed += [row.id for row in rows]
            self._delete_confirmed()
        return found[-1].id if len(found) == _BATCH else None

    def _delete_confirmed(self) -> None:
        while rows := self._confirmed[:_BATCH]:
            with self._database.write() as connection:
                connection.execute(_DELETE, {"rows": rows})
            with self._changed:
                # Others may have been added behind them.
                del self._confirmed[: len(rows)]


def _merged(calls: Iterable[Call]) -> list[Call]:
    """Return calls in their order without repeats; a repeat has the same actor and argument, whatever its trace."""
    first: dict[tuple[str, int | None], Call] = {}
    for call in calls:
        first.setdefault((call.actor, call.argument), call)
    return [*first.values()]
