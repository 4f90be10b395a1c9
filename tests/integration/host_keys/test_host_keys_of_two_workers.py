"""Two workers that meet a site at once agree on its key, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import insert, select

from actors.coordinator.subclouds import read_new
from apidocs.asyncapi.assembly import build_document
from db.database import Database
from db.host_keys import HostKeyContact, SettledHostKey, forget_host_keys, settle
from db.inventory import find_subcloud
from db.schema import events, subclouds
from db.unit_of_work import unit_of_work
from messages.events import cloud_event
from messages.host_keys import HostKey, parse_host_keys
from statemachine.host_keys import HostKeyPolicy, HostKeyVerdict
from tests.integration.host_keys.ssh_sites import line_of, new_key
from tests.support.waiting import PATIENCE_S

WORKERS = 8


@pytest.fixture
def database(new_database_url: Callable[..., str]) -> Iterator[Database]:
    """Give a database with one site."""
    database = Database(new_database_url())
    at = datetime.now(UTC)
    values: dict[str, Any] = read_new({"name": "edge-1", "software_version": "22.12"}, default_version="")
    with database.write() as connection:
        connection.execute(insert(subclouds).values(**values, group_id=1, created_at=at))
    yield database
    database.close()


def key() -> HostKey:
    """Return a new public key."""
    return parse_host_keys(line_of(new_key()))[0]


def meet(database: Database, presented: HostKey, *, is_verified: bool = False, version: str = "22.12") -> Any:
    """Settle a contact in a transaction of its own."""
    with unit_of_work(database) as work:
        row = find_subcloud(work.connection, "edge-1")
        assert row is not None
        contact = HostKeyContact(subcloud_id=row["id"], key=presented, version=version, is_verified=is_verified)
        return settle(work, contact, HostKeyPolicy.ACCEPT_NEW)


def test_the_first_key_wins(database: Database) -> None:
    """Of workers that were shown different keys at once one records its own, and all others find a changed key."""
    barrier = Barrier(WORKERS)

    def work(presented: HostKey) -> SettledHostKey:
        barrier.wait(PATIENCE_S)
        settled: SettledHostKey = meet(database, presented)
        return settled

    keys = [key() for _ in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        verdicts = [settled.verdict for settled in pool.map(work, keys)]
    with database.read() as connection:
        row = find_subcloud(connection, "edge-1")
        recorded = connection.execute(select(events).where(events.c.type == "subcloud.host-key-recorded")).all()

    assert {HostKeyVerdict.RECORD: 1, HostKeyVerdict.CHANGED: WORKERS - 1} == {
        verdict: verdicts.count(verdict) for verdict in set(verdicts)
    }
    assert row is not None
    assert keys[verdicts.index(HostKeyVerdict.RECORD)].line == row["host_keys"]
    assert 1 == len(recorded)


def test_the_same_key_is_recorded_once(database: Database) -> None:
    """Of workers that were shown the same key at once one records it and the others find it recorded."""
    presented, barrier = key(), Barrier(WORKERS)

    def work(_: int) -> SettledHostKey:
        barrier.wait(PATIENCE_S)
        settled: SettledHostKey = meet(database, presented)
        return settled

    with ThreadPoolExecutor(WORKERS) as pool:
        verdicts = [settled.verdict for settled in pool.map(work, range(WORKERS))]

    assert (1, WORKERS - 1) == (verdicts.count(HostKeyVerdict.RECORD), verdicts.count(HostKeyVerdict.MATCHES))


def test_a_reinstalled_site_is_accepted_once(database: Database) -> None:
    """Where two versions that were read over verified TLS differ, one other key is taken."""
    old, new, another = key(), key(), key()

    verdicts = [
        meet(database, old, is_verified=True).verdict,
        meet(database, new, version="23.09").verdict,
        meet(database, new, version="23.09", is_verified=True).verdict,
        meet(database, another, version="23.09", is_verified=True).verdict,
    ]

    assert [
        HostKeyVerdict.RECORD,
        HostKeyVerdict.CHANGED,
        HostKeyVerdict.REPLACE,
        HostKeyVerdict.CHANGED,
    ] == verdicts


def test_a_key_that_outlived_its_version_is_not_replaced(database: Database) -> None:
    """A site that was upgraded and kept its key, as read over verified TLS, was not reinstalled with that version."""
    old = key()
    meet(database, old)

    verdicts = [
        meet(database, old, version="23.09", is_verified=True).verdict,
        meet(database, key(), version="23.09", is_verified=True).verdict,
    ]

    assert [HostKeyVerdict.MATCHES, HostKeyVerdict.CHANGED] == verdicts


def test_a_removed_site_has_no_key(database: Database) -> None:
    """A contact with a subcloud that was removed meanwhile records nothing."""
    contact = HostKeyContact(subcloud_id=99, key=key(), version="22.12", is_verified=False)
    with unit_of_work(database) as work:
        assert settle(work, contact, HostKeyPolicy.ACCEPT_NEW) is None


def test_events_are_as_documented(database: Database) -> None:
    """Each of the three events is what the AsyncAPI document says of it."""
    meet(database, key())
    meet(database, key())
    with unit_of_work(database) as work:
        row = find_subcloud(work.connection, "edge-1")
        assert row is not None
        forget_host_keys(work, row)
    with database.read() as connection:
        told = connection.execute(select(events).order_by(events.c.id)).mappings().all()

    assert ["recorded", "changed", "forgotten"] == [row["type"].removeprefix("subcloud.host-key-") for row in told]
    documented = build_document()["components"]
    for row in told:
        payload = {**documented["messages"][f"event.{row['type']}"]["payload"], "components": documented}
        Draft202012Validator(payload).validate(cloud_event(row, "/prestager/here"))


def test_forgetting_twice_does_nothing(database: Database) -> None:
    """Only a site that has keys loses them, with an event."""
    meet(database, key())
    with unit_of_work(database) as work:
        for expected in (True, False):
            row = find_subcloud(work.connection, "edge-1")
            assert row is not None
            assert expected == forget_host_keys(work, row)

    assert ["subcloud.host-key-forgotten"] == [event["type"] for event in work.emitted]
