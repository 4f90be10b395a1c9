"""What a transaction has to tell: events for whoever listens, calls of actors through the outbox.

Collected while the transaction runs and written by it at its end, in one statement each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from db.schema import events, outbox
from db.types import database_now

# Key of the advisory lock on PostgreSQL: "prestev" as a number.
_EVENTS_LOCK: Final = 0x70726573746576


class Journal:
    """Collects the events and calls of one transaction.

    `at` is the moment that the events are stamped with (UTC), `writer` the process whose relay is woken for the calls.
    """

    def __init__(self, at: datetime, writer: str = "") -> None:
        self._at = at
        self._writer = writer
        self._events: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []

    def tell(self, event_type: str, subject: str, data: dict[str, Any]) -> None:
        """Record that something happened; nobody needs to hear it for the work to be right."""
        self._events.append({"type": event_type, "subject": subject, "data": data, "at": self._at, "published": False})

    @property
    def told(self) -> Sequence[Mapping[str, Any]]:
        """Return what was told so far: `type`, `subject` and `data` of each event."""
        return self._events

    def call(self, actor: str, arguments: Iterable[int | None] = (None,)) -> None:
        """Ask for one message to `actor` per argument, once the transaction is committed."""
        self._calls += [{"actor": actor, "argument": argument} for argument in arguments]

    def write(self, connection: Connection) -> bool:
        """Write what was collected; return whether there are messages to publish.

        The last thing that a transaction does: from here to its commit no other one writes events.
        """
        if self._events:
            _in_order(connection)
            connection.execute(insert(events), self._events)
        if self._calls:
            connection.execute(insert(outbox).values(writer=self._writer, written_at=database_now()), self._calls)
        return bool(self._calls)


def _in_order(connection: Connection) -> None:
    """Give events their numbers in the order of commits: whoever has read up to a number has missed none below it.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_EVENTS_LOCK)))
