"""Database access of the webhook sender: one poll for everything that is due, in a thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from db.database import Database
from db.inventory import installation_id
from db.read_queries import Row
from db.unit_of_work import unit_of_work
from db.webhook_deliveries import (
    DeliveryState,
    Tried,
    due_again,
    next_in_order,
    record_tries,
    tries_since,
    with_something_due,
)
from db.webhooks import claim, disable, enabled_webhooks, follow, has_news, is_free, is_held, lock, note_tries, release
from messages.events import subclouds_of

_log = structlog.get_logger(__name__)

# First tries of one webhook that are read at once, and other tries of it that are made at once.
IN_ORDER: Final = 100
AGAIN: Final = 3
# Failed tries before a webhook is disabled, beside the time.
_TRIES: Final = 3
_DAY_S: Final = 86400.0


@dataclass(frozen=True, kw_only=True)
class DueDeliveries:
    """Result of one poll."""

    # The webhooks that this process sends for, by id.
    held: Mapping[int, Row] = field(default_factory=dict)
    # First tries of each webhook in the order of events; none for one whose first tries are in hand.
    in_order: Mapping[int, Sequence[Row]] = field(default_factory=dict)
    # Further tries that are due.
    again: Mapping[int, Sequence[Row]] = field(default_factory=dict)


def wants(webhook: Mapping[Any, Any], event: Mapping[Any, Any]) -> bool:
    """Return whether a webhook subscribes to an event; both are rows."""
    types: list[str] = webhook["types"]
    return (not types or event["type"].startswith(tuple(types))) and (
        webhook["subcloud"] is None or webhook["subcloud"] in subclouds_of(event)
    )


class WebhookRepository:
    """Webhooks and deliveries of the process `owner`.

    A webhook whose every try has failed for `give_up_s` seconds is disabled, when they were more than a few.
    """

    def __init__(self, database: Database, owner: str, give_up_s: float) -> None:
        self._database = database
        self._owner = owner
        self._give_up_s = give_up_s

    def installation(self) -> str:
        """Return the name of this installation."""
        with self._database.read() as connection:
            return installation_id(connection)

    def poll(
        self, tries: Sequence[Tried], lanes: Collection[int], busy: Mapping[int, Collection[int]]
    ) -> DueDeliveries:
        """Store the results of `tries`, make deliveries of new events, and return those that are due.

        `lanes` are the webhooks whose first tries are in hand, `busy` the other deliveries in hand of each webhook.
        """
        if tries:
            self.record(tries)
        held = self._claim()
        if not held:
            return DueDeliveries()
        self._follow(list(held.values()))
        with self._database.read() as connection:
            due = with_something_due(connection, held)
            in_order = {one: next_in_order(connection, one, IN_ORDER) for one in due - set(lanes)}
            room = {one: AGAIN - len(busy.get(one, ())) for one in due}
            again = {one: due_again(connection, one, busy.get(one, ()), room[one]) for one in due if room[one] > 0}
        return DueDeliveries(held=held, in_order=in_order, again=again)

    def release(self) -> None:
        """Release the webhooks of this process, so that others can send at once."""
        with self._database.write() as connection:
            release(connection, self._owner)

    def _claim(self) -> dict[int, Row]:
        with self._database.read() as connection:
            rows = {row["id"]: row for row in enabled_webhooks(connection)}
        held = {one for one, row in rows.items() if is_held(row, self._owner)}
        free = [one for one, row in rows.items() if one not in held and is_free(row, self._owner)]
        if free:
            with self._database.write() as connection:
                held |= claim(connection, free, self._owner)
        return {one: rows[one] for one in sorted(held)}

    def _follow(self, held: Sequence[Row]) -> None:
        with self._database.read() as connection:
            behind = has_news(connection, held)
        for webhook in behind:
            with self._database.write() as connection:
                _, missed = follow(connection, webhook, wants, datetime.now(UTC))
            if missed:
                _log.warning(
                    "webhook.events-missed",
                    webhook=webhook["name"],
                    after=webhook["cursor"],
                    advice="They were forgotten by age before there was room for them: see PRESTAGER_RETENTION_DAYS.",
                )

    def record(self, tries: Sequence[Tried]) -> None:
        """Store the results of tries, and disable webhooks whose every try has failed for too long."""
        last = {one.webhook_id: one for one in tries if one.took_s is not None}
        worked = {one.webhook_id for one in tries if one.state is DeliveryState.DELIVERED}
        with unit_of_work(self._database) as work:
            connection, at = work.connection, work.at
            lock(connection, {one.webhook_id for one in tries})
            record_tries(connection, tries)
            lasting = note_tries(connection, worked, last.keys() - worked)
            ends = {one.webhook_id: one.disable for one in tries if one.disable}
            for one, seconds in lasting.items():
                if self._is_hopeless(connection, one, at - timedelta(seconds=seconds), at):
                    days = f"{self._give_up_s / _DAY_S:g}"
                    ends.setdefault(one, f"Every try has failed for {days} days. {last[one].error}")
            for one, reason in ends.items():
                disable(work, one, reason)
        for event in work.emitted:
            _log.warning(event["type"], **event["data"])

    def _is_hopeless(self, connection: Connection, webhook_id: int, since: datetime, at: datetime) -> bool:
        if (at - since).total_seconds() < self._give_up_s:
            return False
        # A webhook that is seldom used must not be disabled at the first failure after a long time.
        return tries_since(connection, webhook_id, since) >= _TRIES
