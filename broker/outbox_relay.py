"""The outbox relay: publishes what transactions left to say, then forgets it.

At least once: a crash between publish and delete publishes again, and every receiver takes a repeat for what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog
from sqlalchemy import delete, or_, select

from db.database import Database
from db.schema import outbox
from db.types import database_now
from messages.queues import QUEUE_OF

_log = structlog.get_logger(__name__)

_BATCH: Final = 500
# After how long a row of another process is left lying, in seconds of the database's clock.
_LEFT_LYING_S: Final = 5.0


class Call(NamedTuple):
    """One message to an actor."""

    actor: str
    argument: int | None = None
    # Where it belongs in a trace; None: it is not traced.
    trace: str | None = None


def one_by_one(publish: Callable[[str, int | None, str | None], None]) -> Callable[[Sequence[Call]], None]:
    """Return a publisher of many calls from one of single calls."""

    def publish_all(calls: Sequence[Call]) -> None:
        for call in calls:
            publish(*call)

    return publish_all


class OutboxRelay:
    """Publishes outbox rows through `publish(calls)`, which returns once all of them are handed over.

    Each process relays at once what it wrote itself (`writer`), and what another left lying for a few seconds; so
    many relays work beside each other without waiting for a lock. A call of an actor that nobody knows is dropped.
    """

    def __init__(self, database: Database, publish: Callable[[Sequence[Call]], None], writer: str = "") -> None:
        self._database = database
        self._publish = publish
        self._writer = writer

    def relay(self) -> None:
        """Publish everything that is this relay's to publish, in order."""
        while self._relay_batch() == _BATCH:
            pass

    def _relay_batch(self) -> int:
        left_lying = outbox.c.written_at < database_now() - _LEFT_LYING_S
        # The clock may have been set back since.
        from_the_future = outbox.c.written_at > database_now() + _LEFT_LYING_S
        with self._database.read() as connection:
            rows = connection.execute(
                select(outbox.c.id, outbox.c.actor, outbox.c.argument, outbox.c.trace)
                .where(or_(outbox.c.writer == self._writer, left_lying, from_the_future))
                .order_by(outbox.c.id)
                .limit(_BATCH)
            ).all()
        if not rows:
            return 0
        # The same call twice in a batch says nothing new, whatever trace it is in.
        calls: dict[tuple[str, int | None], Call] = {}
        for row in rows:
            calls.setdefault((row.actor, row.argument), Call(row.actor, row.argument, row.trace))
        # Of another version of the program. Whatever it was about, the plan hands it out again.
        if unknown := {actor for actor, _ in calls} - QUEUE_OF.keys():
            _log.error("outbox.unknown-actor", actors=sorted(unknown))
        self._publish([call for call in calls.values() if call.actor not in unknown])
        with self._database.write() as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        return len(rows)
