"""Turns of transactions: numbers of events, and the clock of the coordinator's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, func, select, text

from db.database import Database
from db.load_snapshot import database_time
from db.schema import controller, events
from db.unit_of_work import unit_of_work
from tests.integration.db.db_rows import AT, sent_statements
from tests.support.waiting import wait_for

ON_POSTGRESQL = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


def waiting_sessions(database: Database, kind: str) -> int:
    """Return how many sessions of this database wait for a lock of a kind."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = :kind")
    with database.read() as connection:
        return int(connection.execute(query, {"kind": kind}).scalar_one())


@pytest.fixture
def other() -> Iterator[Callable[[Callable[[], object]], object]]:
    """Run something in a thread of its own and return its future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


def test_events_are_written_as_emitted(database: Database) -> None:
    """Events keep the order in which a transaction emits them, with type, subject, data and moment of each."""
    emitted = [(f"type.{one}", f"step/{one}", {"details": f"Zürich {one}", "stage": one}) for one in range(300)]
    with unit_of_work(database, AT) as work:
        for event_type, subject, data in emitted:
            work.emit(event_type, subject, data)

    with database.read() as connection:
        rows = connection.execute(select(events).order_by(events.c.id)).all()
    assert emitted == [(row.type, row.subject, row.data) for row in rows]
    assert {(AT, False, None)} == {(row.at, row.published, row.trace) for row in rows}


def test_events_are_written_in_one_statement(database: Database) -> None:
    """All events of a transaction, and their turn, take one statement, the same for any number of them."""
    texts = []
    for count in (1, 200):
        with sent_statements(database.writer_engine) as sent, unit_of_work(database, AT) as work:
            for _ in range(count):
                work.emit("test", "test", {})
        texts.append([one for one, _ in sent if not one.startswith("BEGIN")])

    assert texts[0] == texts[1]
    assert len(texts[0]) == 1


@ON_POSTGRESQL
def test_an_event_is_numbered_in_its_turn(database: Database, other: Callable[..., object]) -> None:
    """A transaction that waits for its turn to write events has taken no number: the one before it may take more."""

    def write() -> None:
        with unit_of_work(database, AT) as work:
            work.emit("second", "test", {})

    def last_number(connection: Connection) -> object:
        return connection.execute(text("SELECT last_value, is_called FROM events_id_seq")).one()

    with unit_of_work(database, AT) as work:
        before = last_number(work.connection)
        work.emit("first", "test", {})
        work.finish()
        taken = last_number(work.connection)
        written = other(write)
        wait_for(lambda: waiting_sessions(database, "advisory") == 1)
        assert taken == last_number(work.connection) != before
        work.emit("first", "test", {})
    written.result()  # type: ignore[attr-defined]

    with database.read() as connection:
        types = connection.execute(select(events.c.type).order_by(events.c.id)).scalars().all()
    assert ["first", "first", "first", "second"] == types


@ON_POSTGRESQL
def test_the_clock_is_read_with_the_lock(database: Database, other: Callable[..., object]) -> None:
    """A coordinator that has waited for its lock plans with the time at which it got it, not when it asked."""

    def turn() -> float:
        with unit_of_work(database, AT, as_coordinator=True) as work:
            return work.turn_epoch

    with database.write() as connection:
        connection.execute(select(controller.c.id).with_for_update())
        waits = other(turn)
        wait_for(lambda: waiting_sessions(database, "transactionid") == 1)
        released = database_time(connection)

    assert waits.result() > released  # type: ignore[attr-defined]


def test_a_turn_is_one_statement(database: Database) -> None:
    """Taking the coordinator's lock and reading the clock are one statement; other transactions read no clock."""
    with sent_statements(database.writer_engine) as sent:
        with unit_of_work(database, AT, as_coordinator=True) as work:
            assert work.turn_epoch == pytest.approx(database_time(work.connection), abs=5)
        with unit_of_work(database, AT) as work:
            assert work.turn_epoch == 0.0
            assert 0 == work.connection.execute(select(func.count()).select_from(events)).scalar_one()

    assert 3 == len([one for one, _ in sent if not one.startswith("BEGIN")])
