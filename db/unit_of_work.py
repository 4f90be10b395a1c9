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

from sqlalchemy import JSON, BigInteger, Connection, String, bindparam, func, insert, literal_column, select, update

from db.database import Database, has_broker
from db.json_table import given_rows
from db.schema import controller, database_now, events, outbox
from messages.events import subject_ids
from messages.queues import Call
from tracing.tracer import NULL_TRACER, Tracer, active_traceparent, trace_of

# Key of the advisory lock on PostgreSQL: "prestev" as a number.
_EVENTS_LOCK: Final = 0x70726573746576
_EMITTED: Final = given_rows("emitted", type=String, subject=String, data=JSON, trace=String)
_EMITTED_ROWS: Final = select(
    *_EMITTED.c,
    bindparam("at_moment", type_=events.c.at.type),
    bindparam("is_published", type_=events.c.published.type),
)
# Events get their numbers in the order of commits: a reader up to a number has missed none below it. The lock is taken
# before the first number, for a row is numbered after the condition has held; SQLite has one writer at a time anyway.
_IN_TURN: Final = select(func.pg_advisory_xact_lock(literal_column(str(_EVENTS_LOCK)))).scalar_subquery().is_not(None)
_INSERT_EVENTS: Final = {
    dialect: insert(events).from_select([*(column.name for column in _EMITTED.c), "at", "published"], rows)
    for dialect, rows in (("sqlite", _EMITTED_ROWS), ("postgresql", _EMITTED_ROWS.where(_IN_TURN)))
}
_CONTROLLER: Final = select(controller.c.id).with_for_update().cte("locked")
# The clock is read when the lock has been waited for, which a select does not promise of its own columns.
_TAKE_TURN: Final = select(database_now()).select_from(_CONTROLLER)

_CALLS: Final = given_rows("calls", actor=String, argument=BigInteger, trace=String)
_INSERT_MESSAGES: Final = (
    insert(outbox)
    .from_select(
        [*(column.name for column in _CALLS.c), "writer", "written_at"],
        select(*_CALLS.c, bindparam("by_process", type_=String), database_now()),
    )
    .returning(outbox.c.id)
)


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

        turn_epoch: When the coordinator's lock was taken, in seconds of the database's clock; 0 without the lock.

        dispatched: Runs that this transaction dispatches.

        completed: Ids of runs whose result this transaction has processed.

        messages: What is sent once the transaction is committed.
    """

    def __init__(
        self,
        connection: Connection,
        at: datetime,
        *,
        writer: str | None = "",
        tracer: Tracer = NULL_TRACER,
        turn_epoch: float = 0.0,
    ) -> None:
        self.connection = connection
        self.at = at
        self.tracer = tracer
        self.turn_epoch = turn_epoch
        self.dispatched: list[RunIds] = []
        self.completed: list[int] = []
        self.messages: list[Call] = []
        # Process whose relay publishes the messages; None: they get no rows.
        self._writer = writer
        self._events: list[dict[str, Any]] = []
        self._runs: list[RunIds | None] = []
        self._is_abandoned = False

    def emit(self, event_type: str, subject: str, data: Mapping[str, Any], *, run: RunIds | None = None) -> None:
        """Add an event, with the run that it is about. Work never depends on a listener."""
        trace = run.trace if run is not None and run.trace is not None else active_traceparent()
        self._events.append({"type": event_type, "subject": subject, "data": data, "trace": trace})
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
        self.messages += [Call(actor, argument, trace or active_traceparent()) for argument in arguments]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo all that the block wrote, emitted, enqueued and dispatched when it raises; the transaction goes on."""
        collected: tuple[list[Any], ...] = (self.dispatched, self.completed, self._events, self._runs, self.messages)
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

    def finish(self) -> Sequence[int]:
        """Write events and messages, or roll back what is abandoned; return the ids of the messages, in any order.

        The last thing that a transaction does: from here to its commit no other one writes events.
        """
        if self._is_abandoned:
            self.messages.clear()
            self.connection.rollback()
            return ()
        if self._events:
            # Without a broker nothing publishes: they would wait until one is set up, which would then be flooded.
            self.connection.execute(
                _INSERT_EVENTS[self.connection.dialect.name],
                {"emitted": self._events, "at_moment": self.at, "is_published": not has_broker(self.connection)},
            )
        if not self.messages or self._writer is None:
            return ()
        calls = [call._asdict() for call in self.messages]
        return self.connection.execute(_INSERT_MESSAGES, {"calls": calls, "by_process": self._writer}).scalars().all()


@contextmanager
def unit_of_work(
    database: Database, at: datetime | None = None, *, as_coordinator: bool = False, tracer: Tracer = NULL_TRACER
) -> Iterator[UnitOfWork]:
    """Give a writing transaction, commit it with its events and messages, then hand the messages to the relay.

    `at` is now where it is not given. With `as_coordinator` the transaction waits for the coordinator's lock first:
    such transactions follow one another, whichever process they are in. On an exception everything is rolled back.

    Raises:
        DatabaseUnavailableError: The database is away; whether a commit arrived is not known.
    """
    at = at or datetime.now(UTC)
    turn_epoch = 0.0
    with database.write() as connection:
        if as_coordinator:
            turn_epoch = float(connection.execute(_TAKE_TURN).scalar_one())
        work = UnitOfWork(
            connection,
            at,
            writer=database.writer,
            tracer=tracer,
            turn_epoch=turn_epoch,
        )
        yield work
        rows = work.finish()
    if work.messages and database.relay is not None:
        database.relay(work.messages, rows)


def forget_unpublished(connection: Connection) -> None:
    """Mark all events as published, for an installation without a broker, which may have had one before.

    They are history, to be read from the API; a later listener would take them for news.
    """
    connection.execute(update(events).where(~events.c.published).values(published=True))
