"""What no worker can do is refused before it begins: their playbooks cannot be loaded."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.schema import heartbeats, steps, strategies
from messages.commands import Answer, CommandType
from messages.queues import PRECHECKS, PREPARE, SUBCLOUDS
from tests.support.installation import Installation

ERROR = "x.yml, line 3, needs the module xml, which this Ansible does not have. Install prestager[starlingx]."
CANNOT = "Unable to create strategy of type 'prestage': Bad strategy request: "
NO_WORKER = "No worker can run the playbooks. "


def add_worker(installation: Installation, name: str, error: str | None, *queues: str, draining: bool = False) -> None:
    """Let a worker report what it found of its playbooks."""
    identity = ProcessIdentity(
        process=f"{name}@host/1", name=name, host="host", version="1", roles=("worker",), queues=queues, slots=1
    )
    report = ProcessReport(key_ids=("k",), releases=("23.09",), feeds=(), playbooks_error=error, draining=draining)
    with installation.database.write() as connection:
        register_process(connection, identity, report)


def ask(installation: Installation) -> tuple[Answer, Answer]:
    """Ask for a standalone prestage and for a strategy."""
    for name in ("a", "b"):
        installation.add_site(name)
    prestaged = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")
    return installation.create(cloud_name="a"), prestaged


@pytest.mark.parametrize("queue", [PREPARE, SUBCLOUDS])
def test_nobody_can(installation: Installation, queue: str) -> None:
    """Where workers of a queue of playbooks are alive and none can load them, nothing is begun; it says why."""
    add_worker(installation, "w1", ERROR, queue)
    add_worker(installation, "w2", "other", queue)
    add_worker(installation, "w3", "", *{PREPARE, SUBCLOUDS} - {queue})

    created, prestaged = ask(installation)
    unstaged = installation.ask(CommandType.SUBCLOUD_UNSTAGE, subject="a", release="23.09")

    assert (422, f"Unstage failed 'a': {NO_WORKER}{ERROR}") == (unstaged.status, unstaged.detail)
    assert (422, f"{CANNOT}{NO_WORKER}{ERROR}") == (created.status, created.detail)
    assert (422, f"Prestage failed 'b': {NO_WORKER}{ERROR}") == (prestaged.status, prestaged.detail)
    assert ([], []) == (installation.rows(strategies), installation.rows(steps))


@pytest.mark.parametrize("other", ["", None])
def test_one_can(installation: Installation, other: str | None) -> None:
    """One worker that can load them, or has not looked yet, suffices; the answer names those that cannot."""
    for number in range(7):
        add_worker(installation, f"w{number}", ERROR, PREPARE, SUBCLOUDS)
    add_worker(installation, "w8", other, PREPARE, SUBCLOUDS)
    add_worker(installation, "w9", None, PRECHECKS)

    answers = ask(installation)

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
def test_who_does_not_count(installation: Installation, worker: dict[str, Any]) -> None:
    """Workers that are dead, drain, or run no playbooks refuse nothing."""
    add_worker(installation, "w1", worker["error"], *worker["queues"], draining=worker.get("draining", False))
    with installation.database.write() as connection:
        connection.execute(update(heartbeats).values(seen_epoch=heartbeats.c.seen_epoch - worker.get("age_s", 0)))

    answers = ask(installation)

    assert [200, 200] == [answer.status for answer in answers]
    assert "playbooks" not in str([answer.body["info_message"] for answer in answers])
