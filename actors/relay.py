"""The outbox relay: publishes what transactions left to say, then forgets it.

At least once: a crash between publish and delete publishes again, and every receiver takes a repeat for what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import delete, select

from db.engine import Database
from db.schema import outbox

_log = structlog.get_logger(__name__)

_BATCH: Final = 500


class Relay:
    """Publishes outbox rows through `publish(actor, argument)`, which returns once the message is handed over."""

    def __init__(self, database: Database, publish: Callable[[str, int | None], None]) -> None:
        self._database = database
        self._publish = publish

    def relay(self) -> None:
        """Publish everything in the outbox, in order."""
        while self._relay_batch() == _BATCH:
            pass

    def _relay_batch(self) -> int:
        with self._database.read() as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.id).limit(_BATCH)).all()
        if not rows:
            return 0
        said: set[tuple[str, int | None]] = set()
        for row in rows:
            # The same call twice in a batch says nothing new.
            if (row.actor, row.argument) not in said:
                said.add((row.actor, row.argument))
                self._say(row.actor, row.argument)
        with self._database.write() as connection:
            # Ids are given inside writing transactions, one at a time: nothing below the last one can still appear
            # on SQLite; on PostgreSQL a range would miss late ones, so the ids are named.
            connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        return len(rows)

    def _say(self, actor: str, argument: int | None) -> None:
        try:
            self._publish(actor, argument)
        except KeyError:
            # Of another version of the program. Whatever it was about, the plan hands it out again.
            _log.error("outbox.unknown-actor", actor=actor)
