"""What retention forgets, and what it must not touch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select

from db.database import Database
from db.read_queries import newest_event_id, oldest_event_id
from db.retention import Retention, purge
from db.schema import audit, commands, events, run_outputs, runs, steps, strategies, webhook_deliveries, webhooks
from tests.support.migrated_database import place_migrated

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OLD, NEW = NOW - timedelta(days=100), NOW - timedelta(days=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Give an empty database."""
    made = Database(place_migrated(tmp_path / "retention.db"))
    yield made
    made.close()


def strategy(database: Database, *, deleted_at: datetime | None) -> int:
    """Add a strategy with one step, one run and its output."""
    with database.write() as connection:
        strategy_id = connection.execute(
            insert(strategies)
            .values(
                type="prestage",
                stop_on_failure=False,
                force=False,
                release="23.09",
                for_sw_deploy=False,
                state="complete",
                excluded=[],
                created_at=OLD,
                deleted_at=deleted_at,
            )
            .returning(strategies.c.id)
        ).scalar_one()
        step_id = connection.execute(
            insert(steps).values(**step(), strategy_id=strategy_id, finished_at=OLD).returning(steps.c.id)
        ).scalar_one()
        run_id = connection.execute(
            insert(runs)
            .values(
                step_id=step_id,
                phase="prestaging-packages",
                attempt=1,
                state="finished",
                details="",
                facts={},
                dispatched_at=0,
                cancel_requested=False,
                consumed=True,
            )
            .returning(runs.c.id)
        ).scalar_one()
        connection.execute(insert(run_outputs).values(run_id=run_id, content=b"x"))
    return int(strategy_id)


def step() -> dict[str, object]:
    """Return the values of a step."""
    return {
        "subcloud_name": "a",
        "stage": 1,
        "state": "complete",
        "details": "",
        "release": "23.09",
        "force": False,
        "for_sw_deploy": False,
        "version": 1,
        "created_at": OLD,
    }


KEPT = Retention(history=timedelta(days=90), audit=timedelta(days=365))


def count(database: Database, table: object) -> int:
    """Return how many rows a table has."""
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_an_old_deleted_strategy_goes_with_all_of_it(database: Database) -> None:
    """A strategy that was deleted long ago goes, and takes its steps, runs and outputs along."""
    strategy(database, deleted_at=OLD)

    purge(database, KEPT, NOW)

    assert [0, 0, 0, 0] == [count(database, table) for table in (strategies, steps, runs, run_outputs)]


def writers(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that grows by one with each writing transaction."""
    begun: list[bool] = []
    write = database.write

    def counted() -> AbstractContextManager[Connection]:
        begun.append(True)
        return write()

    monkeypatch.setattr(database, "write", counted)
    return begun


def test_strategies_go_one_by_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each strategy goes in a transaction of its own: thousands of rows may hang on it, and others want to write."""
    for _ in range(3):
        strategy(database, deleted_at=OLD)
    begun = writers(database, monkeypatch)

    assert 3 == purge(database, KEPT, NOW)
    assert 3 == len(begun)


def test_looking_holds_no_writer_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is too old nobody's place to write is taken."""
    strategy(database, deleted_at=NEW)
    begun = writers(database, monkeypatch)

    assert 0 == purge(database, KEPT, NOW)
    assert [] == begun


@pytest.mark.parametrize("deleted_at", [None, NEW])
def test_what_is_shown_or_young_stays(database: Database, deleted_at: datetime | None) -> None:
    """A strategy that is not deleted, or was a short while ago, stays whole however old its steps are."""
    strategy(database, deleted_at=deleted_at)

    purge(database, KEPT, NOW)

    assert [1, 1, 1, 1] == [count(database, table) for table in (strategies, steps, runs, run_outputs)]


def test_many_old_rows_go_in_batches(database: Database) -> None:
    """More old events and commands than one transaction deletes are all deleted; young ones stay."""
    event = {"type": "t", "subject": "s", "data": {}, "published": False}
    command = {"type": "t", "digest": "d", "status": 200}
    with database.write() as connection:
        connection.execute(insert(events), [{**event, "at": at} for at in [OLD] * 450 + [NEW]])
        connection.execute(
            insert(commands),
            [{**command, "id": str(place), "created_at": at} for place, at in enumerate([OLD] * 450 + [NEW])],
        )

    assert 900 == purge(database, KEPT, NOW)
    assert [1, 1] == [count(database, table) for table in (events, commands)]


def test_the_newest_event_stays(database: Database) -> None:
    """However old it is, the newest event stays: by its number is known what followers have seen, and what not."""
    with database.write() as connection:
        connection.execute(
            insert(events), [{"type": "t", "subject": "s", "data": {}, "published": True, "at": OLD}] * 3
        )

    assert 2 == purge(database, KEPT, NOW)
    with database.read() as connection:
        assert (3, 3) == (oldest_event_id(connection), newest_event_id(connection))


def test_standalone_steps_go_when_they_ended_long_ago(database: Database) -> None:
    """Of standalone steps only those go that ended long ago; one that is worked on stays."""
    with database.write() as connection:
        connection.execute(insert(steps), [{**step(), "finished_at": at} for at in (OLD, NEW, None)])

    purge(database, KEPT, NOW)

    assert 2 == count(database, steps)


def test_the_audit_is_kept_by_a_time_of_its_own(database: Database) -> None:
    """Entries of the audit go when they are older than its own limit, whatever the limit of the history is."""
    entry = {"caller": "a", "origin": "", "command_id": "1", "type": "t", "status": 200, "detail": ""}
    moments = [NOW - timedelta(days=366), NOW - timedelta(days=364), NOW]
    with database.write() as connection:
        connection.execute(insert(audit), [{**entry, "at": at} for at in moments])

    assert 1 == purge(database, KEPT, NOW)
    assert 2 == count(database, audit)


def test_deliveries_go_when_they_ended_long_ago(database: Database) -> None:
    """Of the log of a webhook what ended long ago goes; what is still to be sent stays however old it is."""
    webhook = {"types": [], "enabled": True, "disabled_reason": "", "sealed": "", "bound_to": "", "cursor": 0}
    delivery = {"type": "t", "subject": "s", "cause": "event", "state": "", "attempts": 1, "error": ""}
    with database.write() as connection:
        connection.execute(insert(webhooks).values(id=1, name="a", url="http://a", created_at=OLD, **webhook))
        connection.execute(
            insert(webhook_deliveries),
            [{**delivery, "webhook_id": 1, "created_at": OLD, "finished_at": at} for at in (OLD, NEW, None)],
        )

    assert 1 == purge(database, KEPT, NOW)
    assert [2, 1] == [count(database, table) for table in (webhook_deliveries, webhooks)]
