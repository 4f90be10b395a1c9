"""Rows of processes: alive by the database's clock, one for each process, forgotten after a day."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, update

from db.heartbeats import (
    ALIVE_S,
    FORGET_S,
    ProcessIdentity,
    ProcessReport,
    all_processes,
    forget_dead_processes,
    living_processes,
    register_process,
    remove_process,
    write_heartbeat,
)
from db.schema import database_now, heartbeats

REPORT = ProcessReport(key_ids=("aa", "bb"))


def process(number: int, *roles: str, name: str = "one", machine: str = "m1") -> ProcessIdentity:
    """Return one start of a process."""
    return ProcessIdentity(
        process=f"{name}@{machine}/{number}", name=name, host="ctrl-0", version="1", roles=roles or ("worker",), slots=2
    )


def age(connection: Connection, one: ProcessIdentity, seconds: float) -> None:
    """Make the last heartbeat of a process older."""
    connection.execute(
        update(heartbeats)
        .where(heartbeats.c.process == one.process)
        .values(seen_epoch=database_now() - seconds, started_epoch=database_now() - seconds - 1)
    )


def names(rows: list[Any]) -> list[str]:
    return [row["process"] for row in rows]


def test_a_row_holds_what_was_reported(connection: Connection) -> None:
    """Each heartbeat replaces what the one before said, and keeps identity and start."""
    one = process(1, "api", "worker")
    register_process(connection, one, REPORT)
    (first,) = all_processes(connection)
    report = ProcessReport(
        key_ids=("bb",),
        running=2,
        prechecks=3,
        draining=True,
        releases=("22.12",),
        feeds=(),
        playbooks_error="x.yml is no list of plays.",
    )

    assert write_heartbeat(connection, one, report)

    (row,) = all_processes(connection)
    assert (None, None, None) == (first["running"], first["releases"], first["playbooks_error"])
    assert ("api+worker", "ctrl-0", 2, first["started_epoch"]) == (
        row["role"],
        row["host"],
        row["slots"],
        row["started_epoch"],
    )
    assert (2, 3, True, ["22.12"], [], ["bb"]) == tuple(
        row[key] for key in ("running", "prechecks", "draining", "releases", "feeds", "key_ids")
    )
    assert row["playbooks_error"] == report.playbooks_error


def test_a_process_without_a_row_is_told(connection: Connection) -> None:
    """A heartbeat of a process whose row is missing writes nothing and says so."""
    assert not write_heartbeat(connection, process(1), REPORT)
    assert [] == all_processes(connection)


@pytest.mark.parametrize(
    ("seconds", "alive"), [(0, True), (ALIVE_S - 2, True), (ALIVE_S + 1, False), (-3600, False), (FORGET_S, False)]
)
def test_alive_by_the_databases_clock(connection: Connection, seconds: float, alive: bool) -> None:
    """A process is alive when it was seen within 30 s; a row from the future, after a clock was set back, is not."""
    one = process(1)
    register_process(connection, one, REPORT)
    age(connection, one, seconds)

    (row,) = all_processes(connection)
    assert (alive, pytest.approx(seconds, abs=1)) == (bool(row["alive"]), row["age_s"])
    assert alive == bool(living_processes(connection))


def test_the_dead_are_forgotten_after_a_day(connection: Connection) -> None:
    """Rows that are older than a day go, others stay."""
    old, young = process(1), process(2, name="two")
    for one in (old, young):
        register_process(connection, one, REPORT)
    age(connection, old, FORGET_S + 1)
    age(connection, young, FORGET_S - 60)

    assert 1 == forget_dead_processes(connection)
    assert [young.process] == names(all_processes(connection))


def test_a_worker_takes_the_place_of_its_predecessor(connection: Connection) -> None:
    """A worker's start removes the row of the same worker of this machine, and no other one's.

    It tells with which key the predecessor sealed.
    """
    others = [process(2, name="one-b"), process(3, machine="m2"), process(4, "api"), process(5, name="On")]
    for one in (process(1), *others):
        register_process(connection, one, REPORT)

    assert ["aa"] == register_process(connection, process(9), REPORT)
    assert sorted(one.process for one in (*others, process(9))) == sorted(names(all_processes(connection)))


def test_apis_of_one_machine_stand_side_by_side(connection: Connection) -> None:
    """A second API of a machine replaces only rows that are not alive."""
    dead, living, third = (process(number, "api") for number in (1, 2, 3))
    register_process(connection, dead, REPORT)
    register_process(connection, living, REPORT)
    age(connection, dead, ALIVE_S + 5)

    register_process(connection, third, REPORT)

    assert {living.process, third.process} == set(names(all_processes(connection)))


def test_removing_a_process_twice(connection: Connection) -> None:
    """A process that stopped has no row; removing it again does nothing."""
    register_process(connection, process(1), REPORT)
    remove_process(connection, process(1).process)
    remove_process(connection, process(1).process)

    assert [] == all_processes(connection)
