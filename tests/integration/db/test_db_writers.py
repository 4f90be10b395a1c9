from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import Connection, Table, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from db.database import Database, begin_reading
from db.errors import DatabaseUnavailableError
from db.load_snapshot import database_time
from db.schema import controller, events, outbox, steps, strategies, subcloud_groups, subclouds
from db.unit_of_work import RunIds, UnitOfWork, unit_of_work
from messages.queues import Call
from tests.integration.db.db_rows import AT, InstallationRows, new_step
from tests.support.migrated_database import place_migrated
from tests.support.waiting import PATIENCE_S

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
THREADS = 4
INCREMENTS = 150
FOLLOWED = 100
NEW_GROUP = {
    "name": "edge",
    "description": "at the edge",
    "update_apply_type": "parallel",
    "max_parallel_subclouds": 2,
    "created_at": AT,
}


def _count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(subclouds.c.probe_failures)).scalar_one())


def _increment(database: Database, times: int) -> None:
    for _ in range(times):
        with database.write() as connection:
            # As every coordinator does; what SQLite needs no lock for, for it has one writer.
            connection.execute(select(controller.c.id).with_for_update())
            seen = connection.execute(select(subclouds.c.probe_failures)).scalar_one()
            connection.execute(update(subclouds).values(probe_failures=seen + 1))


def _write_and_break(connection: Connection) -> None:
    connection.execute(update(subclouds).values(probe_failures=7))
    raise ZeroDivisionError


def _add_site(database: Database) -> None:
    with database.write() as connection:
        InstallationRows(connection).add_subclouds(1)


def test_threads_lose_no_update(database: Database) -> None:
    """Four threads that read, add one and write lose nothing."""
    _add_site(database)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: _increment(database, INCREMENTS), range(THREADS)))

    assert THREADS * INCREMENTS == _count(database)


def test_processes_lose_no_update(database: Database) -> None:
    """Databases of their own, as two processes have, lose nothing either: the database itself queues their writers."""
    _add_site(database)
    others = [Database(database.url.render_as_string(hide_password=False)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: _increment(one, 20), others))
    for one in others:
        one.close()

    assert _count(database) == 40


def test_one_of_many_creates_wins(database: Database) -> None:
    """Of twenty strategies created at the same moment the database keeps one."""
    together = Barrier(20)

    def create(_: int) -> bool:
        together.wait(PATIENCE_S)
        try:
            with database.write() as connection:
                InstallationRows(connection).connection.execute(insert(strategies).values(**STRATEGY))
        except IntegrityError:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        created = list(pool.map(create, range(20)))

    assert created.count(True) == 1
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(strategies)).scalar_one() == 1


def test_history_does_not_count_as_active(database: Database) -> None:
    """Deleted strategies are many; the one that is not deleted is one, whatever its state."""
    with database.write() as connection:
        for _ in range(3):
            connection.execute(insert(strategies).values(**STRATEGY, deleted_at=AT))
        connection.execute(insert(strategies).values(**{**STRATEGY, "state": "complete"}))
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(strategies).values(**STRATEGY))

    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(strategies)).scalar_one() == 4


def test_exception_rolls_back(database: Database) -> None:
    """An exception inside a writing transaction takes everything back, and the database goes on."""
    _add_site(database)
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        _write_and_break(connection)

    assert _count(database) == 0
    _increment(database, 1)
    assert _count(database) == 1


def test_reading_changes_nothing(database: Database, database_kind: str) -> None:
    """What a reader writes does not stay; PostgreSQL refuses it."""
    _add_site(database)
    is_refused = database_kind == "postgresql"
    with pytest.raises(DatabaseUnavailableError) if is_refused else nullcontext(), database.read() as connection:
        connection.execute(update(subclouds).values(probe_failures=7))

    assert _count(database) == 0


def test_reader_does_not_wait_for_a_writer(database: Database) -> None:
    """A reader sees the last commit while somebody writes."""
    _add_site(database)
    with database.write() as connection:
        connection.execute(update(subclouds).values(probe_failures=7))

        assert _count(database) == 0

    assert _count(database) == 7


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_how_a_postgresql_connection_is_set(database: Database) -> None:
    """No transaction on PostgreSQL waits for ever: not for a lock, not in a statement, not for its own client."""
    expected = {"lock_timeout": "10s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "15s"}
    for open_transaction in (database.read, database.write):
        with open_transaction() as connection:
            found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in expected}

            assert expected == found


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_reading_is_no_transaction(database: Database) -> None:
    """A reader on PostgreSQL sends statements alone; one that needs one moment, or settings, begins a transaction."""
    asked = text("SELECT txid_current()")
    with database.read() as connection:
        alone = {connection.execute(asked).scalar_one() for _ in range(2)}
    with database.read() as connection:
        for _ in range(2):
            begin_reading(connection)
            connection.execute(text("SET LOCAL enable_sort = off"))
        together = {connection.execute(asked).scalar_one() for _ in range(2)}
    with database.read(is_one_moment=True) as connection:
        found = connection.execute(text("SHOW transaction_isolation")).scalar_one()
    with database.read() as connection:
        left = connection.execute(text("SHOW enable_sort")).scalar_one()

    assert (2, 1, "repeatable read", "on") == (len(alone), len(together), found, left)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_readers_of_servers_that_take_writes(database: Database) -> None:
    """An address that asks for a server that takes writes serves readers too."""
    asking = Database(database.url.update_query_dict({"target_session_attrs": "read-write"}).render_as_string(False))
    try:
        with asking.read() as connection:
            assert connection.execute(text("SHOW default_transaction_read_only")).scalar_one() == "on"
    finally:
        asking.close()


@ON_SQLITE
def test_how_a_connection_is_set(database: Database) -> None:
    """Every connection waits for others, keeps foreign keys, and loses no commit to a power cut."""
    expected = {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 30_000}
    for open_transaction in (database.read, database.write):
        with open_transaction() as connection:
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in expected}

            assert expected == found


def test_foreign_keys(database: Database) -> None:
    """A row cannot point nowhere."""
    with pytest.raises(IntegrityError), database.write() as connection:
        InstallationRows(connection).add_subclouds(1, group_id=99)


def test_removed_subcloud_leaves_its_history(database: Database) -> None:
    """When a subcloud is removed its steps stay and keep its name."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(1)
        installation.add_strategy({1: 1})
        connection.execute(subclouds.delete())

        assert (None, "site1") == connection.execute(select(steps.c.subcloud_id, steps.c.subcloud_name)).one()


def test_what_a_unit_of_work_stamps(connection: Connection) -> None:
    """A message carries the process that wrote it and the database's own time; an event is not published yet."""
    before = database_time(connection)
    work = UnitOfWork(connection, AT, writer="worker1/1")
    work.emit("something.happened", "site/1", {})
    work.enqueue("coordinate")
    work.enqueue("stage_content", [7, 8])
    work.finish()
    after = database_time(connection)

    said = connection.execute(select(outbox).order_by(outbox.c.id)).all()
    assert [("coordinate", None), ("stage_content", 7), ("stage_content", 8)] == [
        (row.actor, row.argument) for row in said
    ]
    assert {"worker1/1"} == {row.writer for row in said}
    assert all(before <= row.written_at <= after for row in said)
    assert [(AT, False)] == [(row.at, row.published) for row in connection.execute(select(events))]


@pytest.mark.parametrize(
    ("table", "column"), [(steps, "for_sw_deploy"), (outbox, "writer"), (outbox, "written_at"), (events, "published")]
)
def test_columns_that_must_be_told(connection: Connection, table: Table, column: str) -> None:
    """These columns have no value of their own: who writes a row must say."""
    whole = {
        "steps": {**new_step(1, 1), "strategy_id": None},
        "outbox": {"actor": "coordinate", "writer": "", "written_at": 0.0},
        "events": {"type": "t", "subject": "s", "data": {}, "at": AT, "published": False},
    }[table.name]
    InstallationRows(connection).add_subclouds(1)
    connection.execute(insert(table).values(whole))

    with pytest.raises(IntegrityError, match=column):
        connection.execute(insert(table).values({**whole, column: None}))


def test_an_id_is_never_given_twice(connection: Connection) -> None:
    """A row that is gone leaves its id unused: whoever still holds it finds nothing, rather than something else."""
    installation = InstallationRows(connection)
    installation.add_subclouds(1, first=1000)
    installation.add_strategy({1000: 1})
    tables = (subcloud_groups, subclouds, strategies, steps)
    rows = {table.name: dict(connection.execute(select(table)).mappings().one()) for table in tables}
    connection.execute(update(strategies).values(deleted_at=AT))
    rows["steps"] |= {"strategy_id": None, "subcloud_id": None}

    def add(table: Table) -> int:
        values = {**rows[table.name], "id": None, "name": "new"}
        known = {name: value for name, value in values.items() if name in table.c and name != "id"}
        return int(connection.execute(insert(table).values(known).returning(table.c.id)).scalar_one())

    first = {table.name: add(table) for table in tables}
    for table in tables:
        connection.execute(table.delete().where(table.c.id == first[table.name]))

    assert {name: gone + 1 for name, gone in first.items()} == {table.name: add(table) for table in tables}


def test_moments_need_a_zone(database: Database) -> None:
    """A moment without a time zone is refused before it reaches the database."""
    naive = datetime(2022, 3, 3)  # noqa: DTZ001 - what is refused
    with pytest.raises(StatementError, match="needs a time zone"), database.write() as connection:
        connection.execute(update(subcloud_groups).values(updated_at=naive))


def test_moments_come_back_with_their_zone(database: Database) -> None:
    """A moment is the same after the database."""
    with database.write() as connection:
        connection.execute(update(subcloud_groups).values(updated_at=AT))

        assert connection.execute(select(subcloud_groups.c.updated_at)).scalar_one() == AT


def test_no_connection_before_the_first_use(tmp_path: Path) -> None:
    """A database that nobody uses makes no file; closing it twice is nothing."""
    file = tmp_path / "unused.db"
    database = Database(f"sqlite:///{file}")
    database.close()
    database.close()

    assert not file.exists()


def test_controller_row_is_one(database: Database) -> None:
    """The row that orders the coordinators exists from the start."""
    with database.write() as connection:
        assert connection.execute(select(controller.c.id).with_for_update()).scalars().all() == [1]


STRATEGY = {
    "type": "prestage",
    "stop_on_failure": False,
    "force": False,
    "release": "22.12",
    "for_sw_deploy": False,
    "state": "initial",
    "excluded": [],
    "created_at": AT,
}


def test_a_follower_misses_no_event(database: Database) -> None:
    """Who reads events past the last number seen gets every one, however many transactions write at once."""
    ready = Barrier(THREADS + 1)

    def write() -> None:
        ready.wait()
        for _ in range(FOLLOWED):
            with unit_of_work(database, AT) as work:
                work.emit("test", "test", {})

    seen: list[int] = []
    with ThreadPoolExecutor(THREADS) as pool:
        writers = [pool.submit(write) for _ in range(THREADS)]
        ready.wait()
        while True:
            over = all(writer.done() for writer in writers)
            with database.read() as connection:
                query = select(events.c.id).where(events.c.id > (seen[-1] if seen else 0)).order_by(events.c.id)
                seen += connection.execute(query).scalars()
            if over:
                break

    assert THREADS * FOLLOWED == len(seen)


class TestUnitOfWork:
    def test_a_block_that_raises_leaves_nothing(self, database: Database) -> None:
        """What a block wrote, emitted and enqueued before it raised is undone, and what was before it stays."""
        with unit_of_work(database, AT) as work:
            work.emit("before", "a", {})
            work.enqueue("coordinate")
            with suppress(ZeroDivisionError), work.savepoint():
                work.emit("within", "a", {})
                work.enqueue("stage_content", [7])
                work.dispatched.append(RunIds(id=7, phase="unstaging", attempt=1))
                work.completed.append(6)
                _write_and_break(work.connection)
            assert ([], []) == (work.dispatched, work.completed)
            assert ["before"] == [event for event, _ in work.log_lines()]
            work.emit("after", "a", {})

        with database.read() as connection:
            assert ["before", "after"] == list(
                connection.execute(select(events.c.type).order_by(events.c.id)).scalars()
            )
            assert ["coordinate"] == list(connection.execute(select(outbox.c.actor)).scalars())

    def test_a_block_that_ends_well_is_kept(self, database: Database) -> None:
        """What a block wrote, emitted and enqueued is part of the transaction."""
        with unit_of_work(database, AT) as work, work.savepoint():
            work.emit("within", "a", {})
            work.enqueue("coordinate")

        with database.read() as connection:
            assert ["within"] == list(connection.execute(select(events.c.type)).scalars())
            assert ["coordinate"] == list(connection.execute(select(outbox.c.actor)).scalars())

    @pytest.mark.parametrize("is_abandoned", [True, False])
    def test_what_is_abandoned_or_breaks_is_not_relayed(self, database: Database, is_abandoned: bool) -> None:
        """A unit of work that is abandoned or raises leaves no event and no message, and the relay gets nothing."""
        handed_over: list[Call] = []
        database.attach_relay("w", lambda calls, _: handed_over.extend(calls))
        with suppress(ZeroDivisionError), unit_of_work(database, AT) as work:
            work.emit("within", "a", {})
            work.enqueue("coordinate")
            if not is_abandoned:
                _write_and_break(work.connection)
            work.abandon()

        assert [] == handed_over
        with database.read() as connection:
            assert 0 == connection.execute(select(func.count()).select_from(events)).scalar_one()
            assert 0 == connection.execute(select(func.count()).select_from(outbox)).scalar_one()

    def test_the_relay_gets_messages_after_the_commit(self, database: Database) -> None:
        """The relay gets the messages of a transaction once, in their order, with rows that others can read by then."""
        found: list[tuple[list[Call], set[int]]] = []

        def look(calls: Sequence[Call], rows: Sequence[int]) -> None:
            with database.read() as connection:
                committed = connection.execute(select(outbox.c.id).where(outbox.c.writer == "w")).scalars().all()
            assert sorted(rows) == sorted(committed)
            found.append(([*calls], {*rows}))

        database.attach_relay("w", look)
        with unit_of_work(database, AT) as work:
            work.enqueue("stage_content", [2, 1])
        with unit_of_work(database, AT) as work:
            work.emit("alone", "a", {})

        ((calls, rows),) = found
        assert [Call("stage_content", 2), Call("stage_content", 1)] == calls
        assert 2 == len(rows)

    def test_messages_within_one_process_get_no_rows(self, tmp_path: Path) -> None:
        """Without a broker messages are handed to the relay of the process alone; without a relay they get rows."""
        database = Database(place_migrated(tmp_path / "embedded.db"), has_broker=False)
        handed_over: list[Call] = []
        with unit_of_work(database, AT) as work:
            work.enqueue("stage_content", [1])
        database.attach_relay("w", lambda calls, rows: handed_over.extend(calls if not rows else ()))
        with unit_of_work(database, AT) as work:
            work.enqueue("stage_content", [2])

        with database.read() as connection:
            assert [1] == connection.execute(select(outbox.c.argument)).scalars().all()
        assert [Call("stage_content", 2)] == handed_over
        database.close()
