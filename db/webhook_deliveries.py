"""The delivery log of webhooks: what is to be sent, what came of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, Float, Integer, and_, bindparam, func, insert, not_, select, update

from db.read_queries import Row
from db.schema import BigId, UtcDateTime, database_now, events, webhook_deliveries

_ERROR_LENGTH: Final = 255


class DeliveryState(StrEnum):
    """State of a delivery."""

    # To be tried, or tried again.
    PENDING = "pending"
    # The receiver took it.
    DELIVERED = "delivered"
    # Given up.
    FAILED = "failed"


class Cause(StrEnum):
    """Cause of a delivery."""

    EVENT = "event"
    PING = "ping"
    REDELIVERY = "redelivery"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Result of one try."""

    delivery_id: int
    webhook_id: int
    # Tries before this one: of two reports of one try the second changes nothing.
    attempts: int
    state: DeliveryState
    # When it is tried again, in seconds from now; None: never.
    delay_s: float | None
    # None: no answer came.
    status: int | None
    # A sentence without any secret or URL; empty when it was delivered.
    error: str
    # None: there was nothing that could have been sent.
    took_s: float | None
    at: datetime
    # Why nothing at all is sent to the webhook any more; empty: it goes on.
    disable: str = ""


_deliveries: Final = webhook_deliveries.c
_OPEN: Final[ColumnElement[bool]] = _deliveries.next_attempt_at.is_not(None)
# First tries of events go out one after the other; all others when their time has come.
_IN_ORDER: Final[ColumnElement[bool]] = and_(_deliveries.attempts == 0, _deliveries.cause == Cause.EVENT)


def new_delivery(webhook_id: int, event: Mapping[Any, Any], cause: Cause, at: datetime) -> dict[str, Any]:
    """Return the values of a delivery that is due at once, but for the time by the database's clock."""
    return {
        "webhook_id": webhook_id,
        "event_id": event["id"],
        "type": event["type"],
        "subject": event["subject"],
        "cause": cause,
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "error": "",
        "created_at": at,
    }


def add_delivery(connection: Connection, values: Mapping[str, Any]) -> Row:
    """Add a delivery and return it whole."""
    statement = insert(webhook_deliveries).values(**values, next_attempt_at=database_now())
    return cast("Row", connection.execute(statement.returning(webhook_deliveries)).mappings().one())


def insert_for_events(connection: Connection, webhook_id: int, found: Iterable[Row], at: datetime) -> None:
    """Add a delivery of each event."""
    rows = [new_delivery(webhook_id, event, Cause.EVENT, at) for event in found]
    if rows:
        connection.execute(insert(webhook_deliveries).values(next_attempt_at=database_now()), rows)


def hurry(connection: Connection, delivery_id: int) -> Row:
    """Have an open delivery due at once, and return it; a first try still has its turn."""
    statement = update(webhook_deliveries).where(_deliveries.id == delivery_id, _OPEN)
    connection.execute(statement.values(next_attempt_at=database_now()))
    query = select(webhook_deliveries).where(_deliveries.id == delivery_id)
    return cast("Row", connection.execute(query).mappings().one())


def find_delivery(connection: Connection, webhook_id: int, delivery_id: int) -> Row | None:
    """Return one delivery of a webhook."""
    query = select(webhook_deliveries).where(_deliveries.id == delivery_id, _deliveries.webhook_id == webhook_id)
    return cast("Row | None", connection.execute(query).mappings().one_or_none())


def deliveries_page(
    connection: Connection, webhook_id: int, *, state: str | None, before: int | None, limit: int
) -> list[Row]:
    """Return the newest deliveries of a webhook, at most `limit`, with ids below `before`."""
    query = select(webhook_deliveries).where(_deliveries.webhook_id == webhook_id)
    if state is not None:
        query = query.where(_deliveries.state == state)
    if before is not None:
        query = query.where(_deliveries.id < before)
    return cast("list[Row]", connection.execute(query.order_by(_deliveries.id.desc()).limit(limit)).mappings().all())


def open_counts(connection: Connection, webhook_ids: Collection[int]) -> dict[int, int]:
    """Return how many deliveries of each webhook are open; none for one without."""
    query = select(_deliveries.webhook_id, func.count()).where(_deliveries.webhook_id.in_(webhook_ids), _OPEN)
    return {row[0]: int(row[1]) for row in connection.execute(query.group_by(_deliveries.webhook_id))}


def tries_since(connection: Connection, webhook_id: int, at: datetime) -> int:
    """Return how many tries a webhook has had of what was made since a moment."""
    query = select(func.coalesce(func.sum(_deliveries.attempts), 0))
    made = query.where(_deliveries.webhook_id == webhook_id, _deliveries.created_at >= at)
    return int(connection.execute(made).scalar_one())


def with_something_due(connection: Connection, webhook_ids: Collection[int]) -> set[int]:
    """Return the webhooks that something is due for."""
    due = _deliveries.next_attempt_at <= database_now()
    query = select(_deliveries.webhook_id).where(_deliveries.webhook_id.in_(webhook_ids), due).distinct()
    return set(connection.execute(query).scalars())


def next_in_order(connection: Connection, webhook_id: int, limit: int) -> list[Row]:
    """Return the first tries of a webhook in the order of events; each with its `event`, None when it is forgotten."""
    query = select(webhook_deliveries).where(_deliveries.webhook_id == webhook_id, _OPEN, _IN_ORDER)
    rows = connection.execute(query.order_by(_deliveries.id).limit(limit)).mappings().all()
    return _with_events(connection, rows)


def due_again(connection: Connection, webhook_id: int, but: Collection[int], limit: int) -> list[Row]:
    """Return what else of a webhook is due, but for the ids `but`; each with its `event`."""
    due = _deliveries.next_attempt_at <= database_now()
    query = select(webhook_deliveries).where(_deliveries.webhook_id == webhook_id, due, not_(_IN_ORDER))
    # Few are in hand at once; leaving them out here would make a statement of each number of them.
    rows = connection.execute(query.order_by(_deliveries.next_attempt_at).limit(limit + len(but))).mappings().all()
    return _with_events(connection, [row for row in rows if row["id"] not in but][:limit])


def _with_events(connection: Connection, rows: Sequence[Mapping[Any, Any]]) -> list[Row]:
    wanted = {row["event_id"] for row in rows} - {None}
    found = connection.execute(select(events).where(events.c.id.in_(wanted))).mappings() if wanted else ()
    known = {event["id"]: event for event in found}
    return [{**row, "event": known.get(row["event_id"])} for row in rows]


def record_tries(connection: Connection, tries: Sequence[Tried]) -> None:
    """Write down what came of tries; of a delivery that was ended or tried otherwise meanwhile nothing is changed."""
    if not tries:
        return
    statement = (
        update(webhook_deliveries)
        .where(_deliveries.id == bindparam("b_id", type_=BigId), _deliveries.attempts == bindparam("b_attempts"))
        .where(_OPEN)
        .values(
            state=bindparam("b_state"),
            attempts=_deliveries.attempts + 1,
            # Nothing and any time is nothing.
            next_attempt_at=database_now() + bindparam("b_delay", type_=Float),
            last_status=bindparam("b_status", type_=Integer),
            error=bindparam("b_error"),
            duration_s=bindparam("b_took", type_=Float),
            attempted_at=bindparam("b_at", type_=UtcDateTime),
            finished_at=bindparam("b_finished", type_=UtcDateTime),
        )
    )
    connection.execute(statement, [_values(one) for one in tries])


def _values(one: Tried) -> dict[str, Any]:
    return {
        "b_id": one.delivery_id,
        "b_attempts": one.attempts,
        "b_state": one.state,
        "b_delay": one.delay_s,
        "b_status": one.status,
        "b_error": one.error[:_ERROR_LENGTH],
        "b_took": one.took_s,
        "b_at": one.at,
        "b_finished": one.at if one.delay_s is None else None,
    }


def fail_open(connection: Connection, webhook_id: int, error: str, at: datetime) -> None:
    """Give up whatever of a webhook is open."""
    statement = update(webhook_deliveries).where(_deliveries.webhook_id == webhook_id, _OPEN)
    connection.execute(
        statement.values(state=DeliveryState.FAILED, next_attempt_at=None, error=error[:_ERROR_LENGTH], finished_at=at)
    )
