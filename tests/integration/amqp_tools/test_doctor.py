"""`prestager doctor` over a real broker, and without one."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from time import time

import pytest

from broker.amqp.topology import EXCHANGES, QUEUES, dead_letters_of
from cli.doctor import broker_checks
from cli.doctor import database_checks as store_checks
from cli.doctor.finding import Level
from db.database import Database
from messages.queues import COMMANDS, PREPARE
from tests.integration.amqp_tools.amqp_installation import AmqpInstallation, Ended, Prestager
from tests.support.tcp_proxy import HOST

OURS = next(dict(queue.arguments) for queue in QUEUES if queue.name == PREPARE)


def lines(ended: Ended) -> dict[str, tuple[str, str]]:
    """Return check → (level, finding); of a check with several lines the last."""
    rows = [line.split(maxsplit=1) for line in ended.out.splitlines()[1:]]
    found = {}
    for level, rest in rows:
        check, _, finding = rest.partition("  ")
        found[check] = (level, finding.strip())
    return found


@pytest.fixture(autouse=True)
def schema(prestager: Prestager) -> None:
    """Begin with the schema, as after a first start."""
    assert 0 == prestager("db", "upgrade").code


def test_all_is_well(running: AmqpInstallation, prestager: Prestager) -> None:
    """A running installation has no failing line, and the queues are as declared."""
    running.host.purge()

    ended = prestager("doctor")

    found = lines(ended)
    assert (0, "") == (ended.code, ended.err), ended.out
    assert ("ok", f"{len(EXCHANGES)} exchanges and {len(QUEUES)} queues are there as declared.") == found["topology"]
    assert {"ok"} == {
        found[check][0] for check in ("broker", "schema", "clock", "consumer_timeout", "data room", "workers")
    }
    assert COMMANDS not in found, found[COMMANDS]


def test_it_changes_nothing(installation: AmqpInstallation, prestager: Prestager, tmp_path: Path) -> None:
    """A queue and a database that are not there are said to be missing, and are missing afterwards."""
    with installation.host.channel() as channel:
        channel.queue_delete(PREPARE)
    try:
        ended = prestager("doctor", DATA_DIR=tmp_path / "new")
        again = prestager("doctor", DATA_DIR=tmp_path / "new")
    finally:
        installation.host.declare()

    assert 0 == ended.code
    # What is free, of memory and of disks, is another number each time.
    first, second = (re.sub(r"\d+", "N", str(lines(one))) for one in (ended, again))
    assert first == second
    assert "warn" == lines(ended)[PREPARE][0]
    assert "is not there yet" in lines(ended)["database"][1]
    assert not (tmp_path / "new").exists()


def test_a_queue_with_other_arguments(installation: AmqpInstallation, prestager: Prestager) -> None:
    """A queue that somebody made differently fails with the argument that differs and the way out."""
    with installation.host.channel() as channel:
        channel.queue_delete(PREPARE)
        channel.queue_declare(PREPARE, durable=True, arguments=OURS | {"x-delivery-limit": 3})
    try:
        ended = prestager("doctor")
    finally:
        with installation.host.channel() as channel:
            channel.queue_delete(PREPARE)
        installation.host.declare()

    level, finding = lines(ended)[PREPARE]
    assert (1, "fail") == (ended.code, level)
    assert "x-delivery-limit" in finding
    assert "delete it on the broker" in finding


def test_dead_letters_and_missing_coordinators_are_told(installation: AmqpInstallation, prestager: Prestager) -> None:
    """What an operator should look at is a warning and no failure; a missing worker is the failure."""
    installation.host.purge()
    installation.host.put(dead_letters_of(COMMANDS), b"{}", message_id="one")
    installation.host.await_count(dead_letters_of(COMMANDS), 1)

    ended = prestager("doctor")

    assert {"workers"} == {check for check, (level, _) in lines(ended).items() if level == "fail"}
    assert "prestager dead-letters list prestager.commands" in lines(ended)[dead_letters_of(COMMANDS)][1]
    assert "no coordinator runs" in lines(ended)[COMMANDS][1]


def test_a_broker_that_is_away(prestager: Prestager) -> None:
    """A broker out of reach fails without its password in the line."""
    ended = prestager("doctor", BROKER_URL="amqp://user:hidden@127.0.0.1:9/")

    assert (1, "fail") == (ended.code, lines(ended)["broker"][0])
    assert "hidden" not in ended.out + ended.err


def test_a_broker_that_says_nothing(prestager: Prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that never answers is told as one that is away."""
    monkeypatch.setattr(broker_checks, "_TIMEOUT_S", 0.3)
    with socket.create_server((HOST, 0)) as silent:
        ended = prestager("doctor", BROKER_URL=f"amqp://{HOST}:{silent.getsockname()[1]}/")

    assert (1, "fail") == (ended.code, lines(ended)["broker"][0])


def test_a_user_without_rights(installation: AmqpInstallation, prestager: Prestager) -> None:
    """A user who may not declare is told which rights it lacks."""
    ended = prestager("doctor", BROKER_URL=installation.host.outsider(configure="", write="")[1])

    assert (1, "fail") == (ended.code, lines(ended)[PREPARE][0])
    assert "Give the broker's user" in lines(ended)[PREPARE][1]


def test_an_embedded_installation(prestager: Prestager) -> None:
    """Without a broker its checks are left out, with the reason."""
    ended = prestager("doctor", BROKER_URL="")

    assert 0 == ended.code, ended.out
    assert ("ok", "broker") == (lines(ended)["broker"][0], "broker")
    assert "one process does everything" in lines(ended)["broker"][1]


def test_a_database_that_is_away(prestager: Prestager) -> None:
    """A database out of reach is one failing line without its password."""
    ended = prestager("doctor", BROKER_URL="", DATABASE_URL="postgresql+psycopg://user:hidden@127.0.0.1:9/prestager")

    assert (1, "fail") == (ended.code, lines(ended)["database"][0])
    assert "hidden" not in ended.out + ended.err


@pytest.mark.parametrize(("skew_s", "level"), [(4.0, Level.OK), (6.0, Level.WARN), (-6.0, Level.WARN)])
def test_the_clock(
    installation: AmqpInstallation, monkeypatch: pytest.MonkeyPatch, skew_s: float, level: Level
) -> None:
    """The database's clock may differ by 5 s from ours, to either side."""
    monkeypatch.setattr(store_checks, "time", lambda: time() + skew_s)
    database = Database(installation.settings.sqlalchemy_url)
    try:
        found = store_checks._skew(database)
    finally:
        database.close()

    assert level == found.level
    assert (level is Level.OK) or (("behind" if skew_s > 0 else "ahead") in found.text)
