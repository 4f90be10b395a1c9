"""Retention and wrong clocks: what may delete history, and what keeps it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select
from structlog.testing import capture_logs

from actors.coordinator.history_retention import HistoryRetention
from db.database import Database
from db.retention import Retention
from db.schema import audit, commands, events
from messages.commands import CommandType
from tests.support.installation import Installation, StartedInstallation

KEPT = Retention(history=timedelta(days=90), audit=timedelta(days=365))
HOUR_S = 3600.0
GROUP = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def days_ago(*days: float) -> list[datetime]:
    """Return moments."""
    return [datetime.now(UTC) - timedelta(days=one) for one in days]


def told_at(database: Database, moments: list[datetime]) -> None:
    """Add an event at each moment."""
    event = {"type": "t", "subject": "s", "data": {}, "published": True}
    with database.write() as connection:
        connection.execute(insert(events), [{**event, "at": at} for at in sorted(moments)])


def oldest_days(database: Database) -> int:
    """Return how many days old the oldest event is."""
    with database.read() as connection:
        oldest = connection.execute(select(func.min(events.c.at))).scalar_one()
    return (datetime.now(UTC) - oldest).days


def after_an_hour(database: Database, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> HistoryRetention:
    """Return what has been running for an hour."""
    clock = Clock()
    retention = HistoryRetention(database, KEPT, clock, now)
    clock.now = HOUR_S
    return retention


def test_the_first_hour_after_a_start_deletes_nothing(installation: Installation) -> None:
    """However old rows are, nothing is deleted within an hour of the start; afterwards it is."""
    told_at(installation.database, days_ago(*range(1, 120)))
    clock = Clock()
    retention = HistoryRetention(installation.database, KEPT, clock)
    for clock.now in (0.0, 60.0, HOUR_S - 1):
        retention.purge()
    before = oldest_days(installation.database)
    clock.now = HOUR_S
    retention.purge()

    assert (119, 89) == (before, oldest_days(installation.database))


def test_a_start_deletes_nothing(build: Callable[..., StartedInstallation]) -> None:
    """A service that starts leaves the history as it is, whatever the clock says."""
    installation = build()
    told_at(installation.database, days_ago(*range(1, 120)))
    installation.stop()
    again = build()
    assert 200 == again.ask(CommandType.GROUP_CREATE, **GROUP).status

    assert 119 == oldest_days(again.database)


@pytest.mark.parametrize("wrong_days", [8, 30, 400, -30])
def test_a_clock_that_differs_from_the_databases(installation: Installation, wrong_days: float) -> None:
    """A machine whose clock is days away from the database's deletes nothing."""
    told_at(installation.database, days_ago(*range(120)))
    wrong = timedelta(days=wrong_days)
    after_an_hour(installation.database, lambda: datetime.now(UTC) + wrong).purge()

    assert 119 == oldest_days(installation.database)


@pytest.mark.parametrize("table", ["events", "commands", "audit"])
def test_nothing_is_deleted_long_after_the_newest_row(installation: Installation, table: str) -> None:
    """Nothing is deleted when nothing was written for 7 days; any of the three kinds of rows tells."""
    told_at(installation.database, days_ago(*range(8, 120)))
    after_an_hour(installation.database).purge()
    kept = oldest_days(installation.database)
    # As if the pause had been shorter.
    add(installation.database, table, days_ago(6.9))
    add(installation.database, table, days_ago(1.5))
    after_an_hour(installation.database).purge()

    assert (119, 89) == (kept, oldest_days(installation.database))


def add(database: Database, table: str, moments: list[datetime]) -> None:
    """Add rows of a kind."""
    for at in moments:
        with database.write() as connection:
            if table == "events":
                connection.execute(insert(events).values(type="t", subject="s", data={}, published=True, at=at))
            elif table == "commands":
                row = {"id": str(at), "type": "t", "digest": "d", "status": 200, "created_at": at}
                connection.execute(insert(commands).values(**row))
            else:
                row = {"caller": "a", "origin": "", "command_id": "1", "type": "t", "status": 200, "detail": ""}
                connection.execute(insert(audit).values(**row, at=at))


def test_what_a_wrong_clock_writes_is_no_proof(installation: Installation) -> None:
    """Commands and events that were written since the clock is wrong do not make it right, also after a restart."""
    told_at(installation.database, days_ago(*range(40, 120)))
    assert 200 == installation.ask(CommandType.GROUP_CREATE, **GROUP).status
    told_at(installation.database, days_ago(0.0, 0.01, 0.5, 6.9))
    with capture_logs() as logs:
        for _ in range(2):
            after_an_hour(installation.database).purge()

    assert 119 == oldest_days(installation.database)
    assert 2 == [line["event"] for line in logs].count("history.kept")
    assert "nothing was written from" in logs[0]["reason"]


def test_seven_days_of_rows_make_a_clock_right(installation: Installation) -> None:
    """After a long pause that was none of a wrong clock history is deleted again once a week has passed."""
    told_at(installation.database, days_ago(*range(40, 120)))
    told_at(installation.database, days_ago(*range(9)))
    after_an_hour(installation.database).purge()

    assert 89 == oldest_days(installation.database)


def test_rows_of_the_future_are_no_proof(installation: Installation) -> None:
    """Rows that a clock which was ahead has left do not vouch for the clock of now."""
    told_at(installation.database, days_ago(*range(20, 120), -300))
    after_an_hour(installation.database).purge()

    assert 119 == oldest_days(installation.database)


def test_it_is_told_once(installation: Installation) -> None:
    """That history is kept for the clock's sake is told when it begins, not every hour."""
    told_at(installation.database, days_ago(*range(20, 120)))
    retention = after_an_hour(installation.database)
    with capture_logs() as logs:
        for _ in range(3):
            retention.purge()

    assert ["history.kept"] == [line["event"] for line in logs]
