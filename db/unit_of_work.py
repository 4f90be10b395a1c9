"""Unit of work: one writing transaction with its events, its messages through the outbox and the coordinator's lock.

Events and messages are collected while the transaction runs and written as the last thing before its commit, in one
statement each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from db.database import Database, has_broker
from db.schema import controller, database_now, events, outbox
from messages.events import subject_ids
from tracing.tracer import NULL_TRACER, Tracer, active_traceparent, trace_of

# Key of the advisory lock on PostgreSQL: "prestev" as a number.
_EVENTS_LOCK: Final = 0x70726573746576


@dataclass(frozen=True, kw_only=True, slots=True)
class RunIds:
    """Ids of a run, for its events and traces."""

    id: int
    phase: str
    attempt: int
    # Where its phase is in a trace; None: it is not traced.
    trace: str | None = None
    # When it was handed out, in seconds of the database's clock.
    dispatched_epoch: float = 0.0


class UnitOfWork:
    """Events and messages of the transaction of `connection`; `unit_of_work` makes it and writes them.

    Attributes:
        connection: The connection, inside its transaction.

        at: The moment that rows and events are stamped with (UTC).

        tracer: Begins the traces of the runs that are dispatched.

        dispatched: Runs that this transaction dispatches.

        completed: Ids of runs whose result this transaction has processed.
    """

    def __init__(self, connection: Connection, at: datetime, *, writer: str = "", tracer: Tracer = NULL_TRACER) -> None:
        self.connection = connection
        self.at = at
        self.tracer = tracer
        self.dispatched: list[RunIds] = []
        self.completed: list[int] = []
        self._writer = writer
        self._events: list[dict[str, Any]] = []
        self._runs: list[RunIds | None] = []
        self._messages: list[dict[str, Any]] = []
        self._is_abandoned = False

    def emit(self, event_type: str, subject: str, data: Mapping[str, Any], *, run: RunIds | None = None) -> None:
        """Add an event, with the run that it is about. Work never depends on a listener."""
        trace = run.trace if run is not None and run.trace is not None else active_traceparent()
        self._events.append({"type": event_type, "subject": subject, "data": data, "at": self.at, "trace": trace})
        self._runs.append(run)

    @property
    def emitted(self) -> Sequence[Mapping[str, Any]]:
        """Return the events so far: `type`, `subject` and `data` of each."""
        return self._events

    def log_lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return the events as they are logged: the type of each, and its data with all known ids."""
        for event, run in zip(self._events, self._runs, strict=True):
            fields = {**subject_ids(event["subject"]), **event["data"]}
            if run is not None:
                fields |= {"run": run.id, "phase": run.phase, "attempt": run.attempt}
                if run.trace is not None:
                    fields["trace"] = trace_of(run.trace)
            yield event["type"], {name: value for name, value in fields.items() if value is not None}

    def enqueue(self, actor: str, arguments: Iterable[int | None] = (None,), *, trace: str | None = None) -> None:
        """Add one message to `actor` per argument; it is sent once the transaction is committed."""
        self._messages += [
            {"actor": actor, "argument": argument, "trace": trace or active_traceparent()} for argument in arguments
        ]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo all that the block wrote, emitted, enqueued and dispatched when it raises; the transaction goes on."""
        collected: tuple[list[Any], ...] = (self.dispatched, self.completed, self._events, self._runs, self._messages)
        lengths = [len(one) for one in collected]
        try:
            with self.connection.begin_nested():
                yield
        except BaseException:
            for one, length in zip(collected, lengths, strict=True):
                del one[length:]
            raise

    def abandon(self) -> None:
        """Have everything rolled back at the end, events and messages too, as an ordinary end of the work."""
        self._is_abandoned = True

    def finish(self) -> bool:
        """Write events and messages, or roll back what is abandoned; return whether there are messages to publish.

        The last thing that a transaction does: from here to its commit no other one writes events.
        """
        if self._is_abandoned:
            self.connection.rollback()
            return False
        if self._events:
            _in_order(self.connection)
            # Without a broker nothing publishes: they would wait until one is set up, which would then be flooded.
            self.connection.execute(insert(events).values(published=not has_broker(self.connection)), self._events)
        if self._messages:
            self.connection.execute(
                insert(outbox).values(writer=self._writer, written_at=database_now()), self._messages
            )
        return bool(self._messages)


@contextmanager
def unit_of_work(
    database: Database, at: datetime | None = None, *, as_coordinator: bool = False, tracer: Tracer = NULL_TRACER
) -> Iterator[UnitOfWork]:
    """Give a writing transaction, commit it with its events and messages, then wake the relay if there are messages.

    `at` is now where it is not given. With `as_coordinator` the transaction waits for the coordinator's lock first:
    such transactions follow one another, whichever process they are in. On an exception everything is rolled back.

    Raises:
        DatabaseUnavailableError: The database is away; whether a commit arrived is not known.
    """
    at = at or datetime.now(UTC)
    with database.write() as connection:
        if as_coordinator:
            connection.execute(select(controller.c.id).with_for_update())
        work = UnitOfWork(connection, at, writer=database.writer, tracer=tracer)
        yield work
        has_messages = work.finish()
    if has_messages:
        database.wake_relay()


def forget_unpublished(connection: Connection) -> None:
    """Mark all events as published, for an installation without a broker, which may have had one before.

    They are history, to be read from the API; a later listener would take them for news.
    """
    connection.execute(update(events).where(~events.c.published).values(published=True))


def _in_order(connection: Connection) -> None:
    """Give events their numbers in the order of commits: a reader up to a number has missed none below it.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_EVENTS_LOCK)))
