"""Publish events on the events exchange, as CloudEvents, numbered, after commit, at least once."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Row, select, update

from broker.amqp.publisher import Outgoing, Publisher, trace_header
from broker.amqp.topology import EVENTS
from db.database import Database
from db.schema import events
from messages.events import CONTENT_TYPE, cloud_event

_BATCH: Final = 200


class EventPublisher:
    """Publishes events that were not published yet; `source` is the CloudEvents source of this installation."""

    def __init__(self, database: Database, publisher: Publisher, source: str) -> None:
        self._database = database
        self._publisher = publisher
        self._source = source

    def publish(self) -> None:
        """Publish all unpublished events, in order.

        Raises:
            PublishError: The broker did not confirm; the events are published later, perhaps once more.
        """
        while self._publish_batch() == _BATCH:
            pass

    def _publish_batch(self) -> int:
        query = select(events).where(~events.c.published).order_by(events.c.id).limit(_BATCH)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return 0
        self._publisher.publish([self._outgoing(row) for row in rows])
        with self._database.write() as connection:
            connection.execute(update(events).where(events.c.id.in_([row.id for row in rows])).values(published=True))
        return len(rows)

    def _outgoing(self, row: Row[*tuple[Any, ...]]) -> Outgoing:
        document = cloud_event(row._mapping, self._source)  # noqa: SLF001 - SQLAlchemy's name for the row as a mapping
        return Outgoing(
            exchange=EVENTS,
            routing_key=row.type,
            body=json.dumps(document, separators=(",", ":")).encode(),
            message_id=str(row.id),
            type=row.type,
            content_type=CONTENT_TYPE,
            headers=trace_header(row.trace),
            # There may be no listener.
            mandatory=False,
        )
