"""Events and messages of one transaction: events for listeners, calls of actors through the outbox.

Collected while the transaction runs and written by it at its end, in one statement each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from db.database import has_broker
from db.schema import events, outbox
from db.types import database_now
from messages.events import subject_ids
from tracing.tracer import NULL_TRACER, Tracer, active_traceparent, trace_of

# Key of the advisory lock on PostgreSQL: "prestev" as a number.
_EVENTS_LOCK: Final = 0x70726573746576


@dataclass(frozen=True, kw_only=True, slots=True)
class RunIds:
    """What is known of a run wherever it is spoken of."""

    id: int
    phase: str
    attempt: int
    # Where its phase is in a trace; None: it is not traced.
    trace: str | None = None
    # When it was handed out, in seconds of the database's clock.
    dispatched_at: float = 0.0


class Journal:
    """Collects the events and calls of one transaction.

    `at` is the moment that the events are stamped with (UTC), `writer` the process whose relay is woken for the calls,
    `tracer` begins the traces of the runs that are handed out.

    Attributes:
        handed_out: runs that this transaction hands out.

        concluded: ids of runs that it has drawn its conclusion from.
    """

    def __init__(self, at: datetime, writer: str = "", tracer: Tracer = NULL_TRACER) -> None:
        self.tracer = tracer
        self.handed_out: list[RunIds] = []
        self.concluded: list[int] = []
        self._at = at
        self._writer = writer
        self._events: list[dict[str, Any]] = []
        self._runs: list[RunIds | None] = []
        self._calls: list[dict[str, Any]] = []

    def tell(self, event_type: str, subject: str, data: Mapping[str, Any], *, run: RunIds | None = None) -> None:
        """Record that something happened, with the run that it is about; the work does not need anybody to hear it."""
        trace = run.trace if run is not None and run.trace is not None else active_traceparent()
        self._events.append({"type": event_type, "subject": subject, "data": data, "at": self._at, "trace": trace})
        self._runs.append(run)

    @property
    def told(self) -> Sequence[Mapping[str, Any]]:
        """Return what was told so far: `type`, `subject` and `data` of each event."""
        return self._events

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return what was told as it is logged: the type of each event, and its data with all ids that are known."""
        for event, run in zip(self._events, self._runs, strict=True):
            fields = {**subject_ids(event["subject"]), **event["data"]}
            if run is not None:
                fields |= {"run": run.id, "phase": run.phase, "attempt": run.attempt}
                if run.trace is not None:
                    fields["trace"] = trace_of(run.trace)
            yield event["type"], {name: value for name, value in fields.items() if value is not None}

    def call(self, actor: str, arguments: Iterable[int | None] = (None,), *, trace: str | None = None) -> None:
        """Ask for one message to `actor` per argument, once the transaction is committed."""
        self._calls += [
            {"actor": actor, "argument": argument, "trace": trace or active_traceparent()} for argument in arguments
        ]

    def write(self, connection: Connection) -> bool:
        """Write what was collected; return whether there are messages to publish.

        The last thing that a transaction does: from here to its commit no other one writes events.
        """
        if self._events:
            _in_order(connection)
            # Without a broker nobody publishes: they would wait until one is set up, which would then be flooded.
            connection.execute(insert(events).values(published=not has_broker(connection)), self._events)
        if self._calls:
            connection.execute(insert(outbox).values(writer=self._writer, written_at=database_now()), self._calls)
        return bool(self._calls)


def forget_unpublished(connection: Connection) -> None:
    """Let no event wait to be published: of an installation without a broker, which may have had one before.

    What happened while nobody could listen is history, to be read from the API; a listener that comes later would take
    it for news.
    """
    connection.execute(update(events).where(~events.c.published).values(published=True))


def _in_order(connection: Connection) -> None:
    """Give events their numbers in the order of commits: whoever has read up to a number has missed none below it.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_EVENTS_LOCK)))
