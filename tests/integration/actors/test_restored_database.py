"""What `prestager db restored` does to the rows, and how coordinator and workers go on from there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import insert, select, update

from apidocs.asyncapi.assembly import build_document
from db.claims import claim_runs
from db.errors import RestoreError
from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.read_queries import newest_event_id
from db.restored import continue_after_restore, refused_by_sites
from db.runs import RunResult, finish_runs
from db.schema import audit, events, heartbeats, runs, steps, strategies
from db.unit_of_work import UnitOfWork, unit_of_work
from messages.events import cloud_event
from statemachine.states import RunOutcome
from tests.support.installation import Installation

OWNER = "worker/1"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def restored(installation: Installation, **options: Any) -> Any:
    """Carry out what the command does."""
    with unit_of_work(installation.database, as_coordinator=True) as work:
        return continue_after_restore(work, **options)


def begun(installation: Installation, run_id: int) -> None:
    """Have a worker claim a run."""
    with installation.database.write() as connection:
        assert claim_runs(UnitOfWork(connection, now()), [run_id], OWNER)


def ended(
    installation: Installation, run_id: int, outcome: RunOutcome = RunOutcome.SUCCEEDED, details: str = ""
) -> None:
    """Have the worker report a run."""
    report = RunResult(run_id=run_id, outcome=outcome, details=details, facts={})
    with installation.database.write() as connection:
        assert finish_runs(connection, [report], OWNER, now())
    installation.coordinator.coordinate()


def test_all_ids_jump_to_the_clock(installation: Installation) -> None:
    """Whatever is made afterwards has an id above the time in milliseconds, and one that JSON clients can hold."""
    before = int(now().timestamp() * 1000)
    done = restored(installation)
    installation.add_group("g")
    installation.add_site("a")
    installation.create()
    installation.verb("apply")

    new = [installation.rows(table)[-1]["id"] for table in (runs, steps, strategies, events, audit)]
    new += [installation.site("a")["id"]]
    assert all(before <= done.ids_after < one < 2**53 for one in new)


def test_a_second_time_jumps_again(installation: Installation) -> None:
    """Doing it twice harms nothing: ids only grow."""
    first = restored(installation)
    installation.add_site("a")
    second = restored(installation)
    installation.add_site("b")

    assert first.ids_after < installation.site("a")["id"] <= second.ids_after < installation.site("b")["id"]


@pytest.mark.parametrize("last", ["queued precheck", "precheck", "queued preparation", "preparation"])
def test_unfinished_runs_are_begun_anew_at_no_cost(installation: Installation, last: str) -> None:
    """A run that the backup knew as waiting or at work is done again under a new id, as the same attempt."""
    installation.add_site("a")
    installation.create()
    installation.verb("apply")
    (old,) = installation.queued()
    if last != "queued precheck":
        begun(installation, old)
    if "preparation" in last:
        ended(installation, old)
        (old,) = installation.queued()
    if last == "preparation":
        begun(installation, old)
    phase = installation.rows(runs, id=old)[0]["phase"]

    done = restored(installation)
    installation.coordinator.coordinate()

    (new,) = installation.queued()
    assert 1 == done.runs_begun_anew
    assert done.ids_after < new
    assert (phase, 1) == tuple(installation.rows(runs, id=new)[0][name] for name in ("phase", "attempt"))
    assert [] == installation.rows(runs, state="running")
    begun(installation, new)


def test_steps_that_wait_for_their_stage_go_on(installation: Installation) -> None:
    """A strategy whose first stage was at work in the backup comes to its end after the restore."""
    for name in ("a", "b"):
        installation.add_site(name)
    installation.create(**{"subcloud-apply-type": "serial", "max-parallel-subclouds": 1})
    installation.verb("apply")
    restored(installation)
    installation.coordinator.coordinate()
    walked = 0
    while queued := installation.queued():
        for run_id in queued:
            begun(installation, run_id)
            ended(installation, run_id)
        walked += 1

    assert ["complete"] * 2 == [row["state"] for row in installation.rows(steps)]
    assert walked > 4


def test_followers_are_told(installation: Installation) -> None:
    """An event says that the database was restored; it is documented, and its number is above all that was seen."""
    installation.add_site("a")
    done = restored(installation)

    (row,) = installation.rows(events, type="database.restored")
    document = cloud_event(row, "/prestager/here")
    documented = build_document()["components"]
    payload = {**documented["messages"]["event.database.restored"]["payload"], "components": documented}
    Draft202012Validator(payload).validate(document)
    with installation.database.read() as connection:
        assert row["id"] == newest_event_id(connection) > done.ids_after
    assert done.newest_at == datetime.fromisoformat(row["data"]["newest_at"])


def test_a_living_process_is_refused(installation: Installation) -> None:
    """Beside a process that was seen just now nothing is changed; rows of the dead, as of the backup, are removed."""
    identity = ProcessIdentity(process="w@m/1", name="w", host="box", version="1", roles=("worker",))
    with installation.database.write() as connection:
        register_process(connection, identity, ProcessReport(key_ids=()))
    with pytest.raises(RestoreError, match=r"worker w on box.*Stop them"):
        restored(installation)
    with installation.database.write() as connection:
        connection.execute(update(heartbeats).values(seen_epoch=heartbeats.c.seen_epoch - 60))
    restored(installation)

    with installation.database.read() as connection:
        assert [] == connection.execute(select(heartbeats)).all()


def test_a_clock_behind_the_backup_is_refused(installation: Installation) -> None:
    """A clock that is behind the rows could jump too short; rows of the future can be declared wrong."""
    event = {"type": "t", "subject": "s", "data": {}, "published": True}
    with installation.database.write() as connection:
        connection.execute(insert(events).values(**event, at=now() + timedelta(days=3)))
    with pytest.raises(RestoreError, match=r"clock says .*--trust-clock"):
        restored(installation)
    refused = installation.rows(events, type="database.restored")
    restored(installation, trust_clock=True)

    assert (0, 1) == (len(refused), len(installation.rows(events, type="database.restored")))


def test_a_clock_behind_an_earlier_jump_is_refused(installation: Installation) -> None:
    """Ids that have jumped further than the clock of today are not followed by smaller ones."""
    with unit_of_work(installation.database, now() + timedelta(days=300), as_coordinator=True) as work:
        continue_after_restore(work)
    installation.add_site("a")
    with installation.database.write() as connection:
        connection.execute(update(events).values(at=now()))
    with pytest.raises(RestoreError, match="does not exceed"):
        restored(installation)


def test_sites_that_refused_are_counted_until_it_is_done(installation: Installation) -> None:
    """Runs that sites refused as superseded are a hint, until the ids have jumped."""
    installation.add_site("a")
    installation.create()
    installation.verb("apply")
    (run_id,) = installation.queued()
    begun(installation, run_id)
    ended(installation, run_id, RunOutcome.FAILED, "x: Superseded by a newer run: this run has token 1")
    since = now() - timedelta(days=7)
    with unit_of_work(installation.database, as_coordinator=True) as work:
        before = refused_by_sites(work.connection, since)
        continue_after_restore(work)
    with installation.database.read() as connection:
        after = refused_by_sites(connection, since)

    assert (1, 0) == (before, after)
