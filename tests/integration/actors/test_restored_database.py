"""What `prestager db restored` does to the rows, and how coordinator and workers go on from there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import insert, select, update

from apidocs.asyncapi.assembly import build_document
from db.events import newest_id
from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.restored import RestoreError, continue_after_restore, refused_by_sites
from db.runs import RunResult, claim, finish
from db.schema import audit, events, heartbeats, runs, steps, strategies
from db.unit_of_work import UnitOfWork, unit_of_work
from messages.events import cloud_event
from statemachine.states import RunOutcome
from tests.integration.actors.coordinator_house import House

OWNER = "worker/1"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def restored(house: House, **options: Any) -> Any:
    """Carry out what the command does."""
    with unit_of_work(house.database, as_coordinator=True) as work:
        return continue_after_restore(work, **options)


def begun(house: House, run_id: int) -> None:
    """Have a worker claim a run."""
    with house.database.write() as connection:
        assert claim(UnitOfWork(connection, now()), run_id, OWNER)


def ended(house: House, run_id: int, outcome: RunOutcome = RunOutcome.SUCCEEDED, details: str = "") -> None:
    """Have the worker report a run."""
    report = RunResult(run_id=run_id, outcome=outcome, details=details, facts={})
    with house.database.write() as connection:
        assert finish(connection, report, OWNER, now())
    house.coordinator.coordinate()


def test_all_ids_jump_to_the_clock(house: House) -> None:
    """Whatever is made afterwards has an id above the time in milliseconds, and one that JSON clients can hold."""
    before = int(now().timestamp() * 1000)
    done = restored(house)
    house.add_group("g")
    house.add_site("a")
    house.create()
    house.verb("apply")

    new = [house.rows(table)[-1]["id"] for table in (runs, steps, strategies, events, audit)]
    new += [house.site("a")["id"]]
    assert all(before <= done.ids_after < one < 2**53 for one in new)


def test_a_second_time_jumps_again(house: House) -> None:
    """Doing it twice harms nothing: ids only grow."""
    first = restored(house)
    house.add_site("a")
    second = restored(house)
    house.add_site("b")

    assert first.ids_after < house.site("a")["id"] <= second.ids_after < house.site("b")["id"]


@pytest.mark.parametrize("last", ["queued precheck", "precheck", "queued preparation", "preparation"])
def test_unfinished_runs_are_begun_anew_at_no_cost(house: House, last: str) -> None:
    """A run that the backup knew as waiting or at work is done again under a new id, as the same attempt."""
    house.add_site("a")
    house.create()
    house.verb("apply")
    (old,) = house.queued()
    if last != "queued precheck":
        begun(house, old)
    if "preparation" in last:
        ended(house, old)
        (old,) = house.queued()
    if last == "preparation":
        begun(house, old)
    phase = house.rows(runs, id=old)[0]["phase"]

    done = restored(house)
    house.coordinator.coordinate()

    (new,) = house.queued()
    assert 1 == done.runs_begun_anew
    assert done.ids_after < new
    assert (phase, 1) == tuple(house.rows(runs, id=new)[0][name] for name in ("phase", "attempt"))
    assert [] == house.rows(runs, state="running")
    begun(house, new)


def test_steps_that_wait_for_their_stage_go_on(house: House) -> None:
    """A strategy whose first stage was at work in the backup comes to its end after the restore."""
    for name in ("a", "b"):
        house.add_site(name)
    house.create(**{"subcloud-apply-type": "serial", "max-parallel-subclouds": 1})
    house.verb("apply")
    restored(house)
    house.coordinator.coordinate()
    walked = 0
    while queued := house.queued():
        for run_id in queued:
            begun(house, run_id)
            ended(house, run_id)
        walked += 1

    assert ["complete"] * 2 == [row["state"] for row in house.rows(steps)]
    assert walked > 4


def test_followers_are_told(house: House) -> None:
    """An event says that the database was restored; it is documented, and its number is above all that was seen."""
    house.add_site("a")
    done = restored(house)

    (row,) = house.rows(events, type="database.restored")
    document = cloud_event(row, "/prestager/here")
    documented = build_document()["components"]
    payload = {**documented["messages"]["event.database.restored"]["payload"], "components": documented}
    Draft202012Validator(payload).validate(document)
    with house.database.read() as connection:
        assert row["id"] == newest_id(connection) > done.ids_after
    assert done.newest_at == datetime.fromisoformat(row["data"]["newest_at"])


def test_a_living_process_is_refused(house: House) -> None:
    """Beside a process that was seen just now nothing is changed; rows of the dead, as of the backup, are removed."""
    identity = ProcessIdentity(process="w@m/1", name="w", host="box", version="1", roles=("worker",))
    with house.database.write() as connection:
        register_process(connection, identity, ProcessReport(key_ids=()))
    with pytest.raises(RestoreError, match=r"worker w on box.*Stop them"):
        restored(house)
    with house.database.write() as connection:
        connection.execute(update(heartbeats).values(seen_epoch=heartbeats.c.seen_epoch - 60))
    restored(house)

    with house.database.read() as connection:
        assert [] == connection.execute(select(heartbeats)).all()


def test_a_clock_behind_the_backup_is_refused(house: House) -> None:
    """A clock that is behind the rows could jump too short; rows of the future can be declared wrong."""
    event = {"type": "t", "subject": "s", "data": {}, "published": True}
    with house.database.write() as connection:
        connection.execute(insert(events).values(**event, at=now() + timedelta(days=3)))
    with pytest.raises(RestoreError, match=r"clock says .*--trust-clock"):
        restored(house)
    refused = house.rows(events, type="database.restored")
    restored(house, trust_clock=True)

    assert (0, 1) == (len(refused), len(house.rows(events, type="database.restored")))


def test_a_clock_behind_an_earlier_jump_is_refused(house: House) -> None:
    """Ids that have jumped further than the clock of today are not followed by smaller ones."""
    with unit_of_work(house.database, now() + timedelta(days=300), as_coordinator=True) as work:
        continue_after_restore(work)
    house.add_site("a")
    with house.database.write() as connection:
        connection.execute(update(events).values(at=now()))
    with pytest.raises(RestoreError, match="does not exceed"):
        restored(house)


def test_sites_that_refused_are_counted_until_it_is_done(house: House) -> None:
    """Runs that sites refused as superseded are a hint, until the ids have jumped."""
    house.add_site("a")
    house.create()
    house.verb("apply")
    (run_id,) = house.queued()
    begun(house, run_id)
    ended(house, run_id, RunOutcome.FAILED, "x: Superseded by a newer run: this run has token 1")
    since = now() - timedelta(days=7)
    with unit_of_work(house.database, as_coordinator=True) as work:
        before = refused_by_sites(work.connection, since)
        continue_after_restore(work)
    with house.database.read() as connection:
        after = refused_by_sites(connection, since)

    assert (1, 0) == (before, after)
