"""What no worker can do is refused before it begins: their playbooks cannot be loaded."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.schema import heartbeats, steps, strategies
from messages.commands import Answer, CommandType
from messages.queues import PRECHECKS, PREPARE, SUBCLOUDS
from tests.integration.actors.coordinator_house import House

ERROR = "x.yml, line 3, needs the module xml, which this Ansible does not have. Install prestager[starlingx]."
CANNOT = "Unable to create strategy of type 'prestage': Bad strategy request: "
NO_WORKER = "No worker can run the playbooks. "


def add_worker(house: House, name: str, error: str | None, *queues: str, draining: bool = False) -> None:
    """Let a worker report what it found of its playbooks."""
    identity = ProcessIdentity(
        process=f"{name}@host/1", name=name, host="host", version="1", roles=("worker",), queues=queues, slots=1
    )
    report = ProcessReport(key_ids=("k",), releases=("23.09",), feeds=(), playbooks_error=error, draining=draining)
    with house.database.write() as connection:
        register_process(connection, identity, report)


def ask(house: House) -> tuple[Answer, Answer]:
    """Ask for a standalone prestage and for a strategy."""
    for name in ("a", "b"):
        house.add_site(name)
    prestaged = house.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")
    return house.create(cloud_name="a"), prestaged


@pytest.mark.parametrize("queue", [PREPARE, SUBCLOUDS])
def test_nobody_can(house: House, queue: str) -> None:
    """Where workers of a queue of playbooks are alive and none can load them, nothing is begun; it says why."""
    add_worker(house, "w1", ERROR, queue)
    add_worker(house, "w2", "other", queue)
    add_worker(house, "w3", "", *{PREPARE, SUBCLOUDS} - {queue})

    created, prestaged = ask(house)
    unstaged = house.ask(CommandType.SUBCLOUD_UNSTAGE, subject="a", release="23.09")

    assert (422, f"Unstage failed 'a': {NO_WORKER}{ERROR}") == (unstaged.status, unstaged.detail)
    assert (422, f"{CANNOT}{NO_WORKER}{ERROR}") == (created.status, created.detail)
    assert (422, f"Prestage failed 'b': {NO_WORKER}{ERROR}") == (prestaged.status, prestaged.detail)
    assert ([], []) == (house.rows(strategies), house.rows(steps))


@pytest.mark.parametrize("other", ["", None])
def test_one_can(house: House, other: str | None) -> None:
    """One worker that can load them, or has not looked yet, suffices; the answer names those that cannot."""
    for number in range(7):
        add_worker(house, f"w{number}", ERROR, PREPARE, SUBCLOUDS)
    add_worker(house, "w8", other, PREPARE, SUBCLOUDS)
    add_worker(house, "w9", None, PRECHECKS)

    answers = ask(house)

    told = f"Workers that cannot run the playbooks: w0, w1, w2, w3, w4 and 2 more. {ERROR}"
    assert [(200, told), (200, told)] == [(answer.status, answer.body["info_message"]) for answer in answers]


@pytest.mark.parametrize(
    "worker",
    [
        {"error": "", "queues": [PREPARE, SUBCLOUDS]},
        {"error": ERROR, "queues": [PREPARE, SUBCLOUDS], "age_s": 60},
        {"error": ERROR, "queues": [PREPARE, SUBCLOUDS], "draining": True},
        {"error": ERROR, "queues": [PRECHECKS]},
    ],
)
def test_who_does_not_count(house: House, worker: dict[str, Any]) -> None:
    """Workers that are dead, drain, or run no playbooks refuse nothing."""
    add_worker(house, "w1", worker["error"], *worker["queues"], draining=worker.get("draining", False))
    with house.database.write() as connection:
        connection.execute(update(heartbeats).values(seen_epoch=heartbeats.c.seen_epoch - worker.get("age_s", 0)))

    answers = ask(house)

    assert [200, 200] == [answer.status for answer in answers]
    assert "playbooks" not in str([answer.body["info_message"] for answer in answers])
