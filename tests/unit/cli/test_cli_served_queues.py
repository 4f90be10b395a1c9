"""Who serves which queue: the rule, and what `prestager doctor` and `prestager queues` make of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from broker.queue_states import verdict
from db.database import Database
from db.heartbeats import ProcessIdentity, ProcessReport, ServedQueue, missing_workers, register_process, served_queues
from messages.process_info import SHOWN_ONLY_BY_API, is_ready, readiness_body
from messages.queues import COMMANDS, PRECHECKS, PREPARE, SUBCLOUDS, WORKER_QUEUES

BROKER = "amqp://127.0.0.1:9/"


def register(
    database: Database, name: str, queues: Sequence[str], *, running: int = 0, draining: bool = False, slots: int = 2
) -> None:
    """Put a worker into the database."""
    identity = ProcessIdentity(
        process=f"{name}@m/1", name=name, host="h", version="1", roles=("worker",), queues=tuple(queues), slots=slots
    )
    report = ProcessReport(key_ids=("aa",), running=running, prechecks=0, draining=draining)
    with database.write() as connection:
        register_process(connection, identity, report)


def found(database: Database) -> list[ServedQueue]:
    """Return who serves what."""
    with database.read() as connection:
        return served_queues(connection)


def test_slots_of_those_that_take(database: Database) -> None:
    """Workers that drain are named apart and lend no slot; prechecks need none."""
    register(database, "b", WORKER_QUEUES, running=1)
    register(database, "a", (SUBCLOUDS,), running=2)
    register(database, "c", (SUBCLOUDS, PREPARE), running=1, draining=True)

    assert [
        ServedQueue(queue=PRECHECKS, workers=("b",)),
        ServedQueue(queue=SUBCLOUDS, workers=("a", "b"), draining=("c",), slots=4, running=3),
        ServedQueue(queue=PREPARE, workers=("b",), draining=("c",), slots=2, running=1),
    ] == found(database)
    assert [] == missing_workers(found(database))


def test_no_worker_at_all(database: Database) -> None:
    """Without a living worker it is said once, and not for each queue."""
    assert ["No worker is alive: nothing is checked or staged until one is. Start one: prestager worker"] == (
        missing_workers(found(database))
    )


def test_queues_that_nobody_takes_from(database: Database) -> None:
    """Queues without a worker and queues whose workers all drain have different remedies."""
    register(database, "a", (SUBCLOUDS, PREPARE), draining=True)

    assert [
        f"No living worker serves {PRECHECKS}. Start one: prestager worker",
        f"Every worker that serves {SUBCLOUDS}, {PREPARE} drains: a. Have one take runs again: prestager undrain NAME",
    ] == missing_workers(found(database))


BUSY = ServedQueue(queue=SUBCLOUDS, workers=("a", "b"), slots=4, running=4)


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        (None, "nobody takes them now: no worker serves it, or all slots are busy"),
        (ServedQueue(queue=SUBCLOUDS), "no living worker serves prestager.subclouds. Start one: prestager worker"),
        (BUSY, "all 4 slots are busy: a, b"),
        (ServedQueue(queue=SUBCLOUDS, draining=("a",)), "prestager undrain NAME"),
        (ServedQueue(queue=SUBCLOUDS, workers=("a",), slots=4, running=1), "has no connection to the broker"),
    ],
)
def test_why_nobody_takes(served: ServedQueue | None, expected: str) -> None:
    """A queue without consumers has no worker, or busy ones, or draining ones: each is told apart."""
    assert expected in verdict(SUBCLOUDS, (3, 0), served)
    assert "playbooks that wait for a slot" == verdict(SUBCLOUDS, (3, 1), served)


def test_doctor_without_workers(prestager, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a broker a missing worker fails, with the remedy; one that serves everything is well."""
    monkeypatch.setenv("PRESTAGER_BROKER_URL", BROKER)
    before = " ".join(prestager("doctor").out.split())
    register(database, "w", WORKER_QUEUES, running=1)
    after = " ".join(prestager("doctor").out.split())

    assert "fail workers No worker is alive: nothing is checked" in before
    assert f"ok workers every queue is served: {PRECHECKS} by w; {SUBCLOUDS} by w, 1 of 2 slots free" in after


def test_doctor_of_an_embedded_service(prestager, database: Database) -> None:
    """Without a broker a service that does not run is a warning: nothing is wrong with the installation."""
    told = " ".join(prestager("doctor").out.split())

    assert "warn workers the service does not run. Start it: prestager up" in told


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("drain", "--all"), "without a broker there are no workers to ask"),
        (
            ("undrain", "w"),
            "one process does everything and never drains; start it with: prestager up",
        ),
        (("undrain",), "Name one worker, or give --all."),
        (("undrain", "w", "--all"), "Name one worker, or give --all."),
    ],
)
def test_draining_without_a_broker(prestager, command: tuple[str, ...], sentence: str) -> None:
    """Where no worker can be asked it is said what to do instead."""
    ended = prestager(*command)

    assert (1, True) == (ended.code, sentence in ended.err)


def test_missing_workers_do_not_make_a_process_unready() -> None:
    """What a coordinator says of workers is told in the body only; every other check counts."""
    told = {"database": None, "workers": "No worker is alive."}

    assert is_ready(told)
    assert {"ok": True, "checks": {"database": "ok", "workers": "No worker is alive."}} == readiness_body(told, "ok")
    assert not is_ready(told | {"database": "cannot be read"})
    assert "commands of callers, who wait; no coordinator runs" in verdict(COMMANDS, (0, 0))


def test_playbooks_do_not_keep_requests_from_the_api() -> None:
    """Broken playbooks make a worker unready; at the API's port, which a balancer asks, they are told only."""
    told = {"database": None, "playbooks": "x.yml, line 1, is not valid YAML."}

    assert not is_ready(told)
    assert is_ready(told, SHOWN_ONLY_BY_API)
    assert {"ready": True, "checks": {"database": "ok", "playbooks": told["playbooks"]}} == (
        readiness_body(told, "ready", SHOWN_ONLY_BY_API)
    )
    assert not is_ready(told | {"database": "cannot be read"}, SHOWN_ONLY_BY_API)
