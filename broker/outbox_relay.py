"""The outbox relay: publishes messages that transactions wrote, then deletes their rows.

At least once: a crash between publish and delete publishes again, and every receiver recognises a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog
from sqlalchemy import delete, or_, select

from db.database import Database
from db.schema import database_now, outbox
from messages.queues import CANCEL_RUNS, QUEUE_OF

_log = structlog.get_logger(__name__)

_BATCH: Final = 500
_KNOWN: Final = frozenset({*QUEUE_OF, CANCEL_RUNS})
# Seconds of the database's clock after which a row of another process is stale.
_STALE_S: Final = 5.0


class Call(NamedTuple):
    """One message to an actor."""

    actor: str
    argument: int | None = None
    # Traceparent; None: it is not traced.
    trace: str | None = None


def one_by_one(publish: Callable[[str, int | None, str | None], None]) -> Callable[[Sequence[Call]], None]:
    """Return a publisher of many calls from one of single calls."""

    def publish_all(calls: Sequence[Call]) -> None:
        for call in calls:
            publish(*call)

    return publish_all


class OutboxRelay:
    """Publishes outbox rows through `publish(calls)`, which returns once all of them are handed over.

    Each process relays its own rows (`writer`) at once, and rows of others after a few seconds; so many relays work
    beside each other without waiting for a lock. A call of an unknown actor is dropped.
    """

    def __init__(self, database: Database, publish: Callable[[Sequence[Call]], None], writer: str = "") -> None:
        self._database = database
        self._publish = publish
        self._writer = writer

    def relay(self) -> None:
        """Publish all rows that this relay may publish, in order."""
        while self._relay_batch() == _BATCH:
            pass

    def _relay_batch(self) -> int:
        is_stale = outbox.c.written_at < database_now() - _STALE_S
        # The clock may have been set back since.
        is_from_the_future = outbox.c.written_at > database_now() + _STALE_S
        with self._database.read() as connection:
            rows = connection.execute(
                select(outbox.c.id, outbox.c.actor, outbox.c.argument, outbox.c.trace)
                .where(or_(outbox.c.writer == self._writer, is_stale, is_from_the_future))
                .order_by(outbox.c.id)
                .limit(_BATCH)
            ).all()
        if not rows:
            return 0
        # A repeat within a batch is dropped, whatever its trace.
        calls: dict[tuple[str, int | None], Call] = {}
        for row in rows:
            calls.setdefault((row.actor, row.argument), Call(row.actor, row.argument, row.trace))
        # Of another version of the program. The plan dispatches the work again.
        if unknown := {actor for actor, _ in calls} - _KNOWN:
            _log.error("outbox.unknown-actor", actors=sorted(unknown))
        self._publish([call for call in calls.values() if call.actor not in unknown])
        with self._database.write() as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        return len(rows)
