"""Malformed input in masses: nothing crashes, nothing hangs, and the next valid request is served at once."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pytest

from broker.amqp.cloudevents import to_command
from broker.amqp.dead_letters import REASON
from broker.amqp.dramatiq_broker import read_envelope
from broker.amqp.errors import BadEnvelopeError, MalformedCommandError
from broker.amqp.topology import dead_letters_of
from db.schema import commands, strategies
from messages.queues import COMMANDS, COORDINATOR, PREPARE, QUEUE_OF, SUBCLOUDS
from tests.faults.fault_installation import promised, scaled, seeded
from tests.faults.hostile_requests import exchange, mutated, served
from tests.support.installation import Installation, StartedInstallation
from tests.support.virtual_host import Requester, VirtualHost, command_event
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

SERVED_S = promised(1.0)
GROUP = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}
GOOD_COMMANDS = [
    command_event("group.create", "1", **GROUP),
    command_event("group.update", "2", description="é") | {"subject": "edge", "time": "2022-03-03T10:00:00Z"},
    command_event("strategy.create", "3", type="prestage") | {"datacontenttype": "application/json"},
    command_event("subcloud.prestage", "4", force=True) | {"subject": "a"},
]


def envelope(actor: str) -> dict[str, Any]:
    """Return a message for an actor as we send it."""
    return {
        "queue_name": QUEUE_OF[actor],
        "actor_name": actor,
        "args": [] if actor == "coordinate" else [2**40],
        "kwargs": {},
        "options": {},
        "message_id": "00000000-0000-0000-0000-000000000000",
        "message_timestamp": 1,
    }


def is_malformed(queue: str, body: bytes) -> bool:
    """Tell whether a message must become a dead letter."""
    try:
        if queue == COMMANDS:
            to_command(body, "/somebody/else", is_ours=False)
        else:
            read_envelope(body, queue, {name for name, of in QUEUE_OF.items() if of == queue})
    except (MalformedCommandError, BadEnvelopeError):
        return True
    return False


def poison(random: Random, queue: str, count: int) -> Iterator[bytes]:
    """Return malformed messages for a queue, each a mutation of a valid one."""
    good = [json.dumps(envelope(actor)).encode() for actor, of in QUEUE_OF.items() if of == queue]
    good = good or [json.dumps(document).encode() for document in GOOD_COMMANDS]
    while count:
        body = mutated(random, random.choice(good))
        if is_malformed(queue, body):
            count -= 1
            yield body


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str | None], StartedInstallation]]:
    """Give a function that starts an installation; it is stopped in the end."""
    installations: list[StartedInstallation] = []

    def begin(url: str | None) -> StartedInstallation:
        installations.append(Installation.over_rabbitmq(tmp_path, url))
        return installations[-1]

    yield begin
    for installation in installations:
        installation.stop()


def test_malformed_messages(
    host: VirtualHost, start: Callable[[str], StartedInstallation], caplog: pytest.LogCaptureFixture
) -> None:
    """Each malformed message is a dead letter with a reason; no thread is lost, and the next valid one is served."""
    random = seeded()
    installation = start(host.url())
    installation.add_site("a")
    threads = {thread.name for thread in threading.enumerate()}
    count = scaled(500, 10_000) // 4
    queues = (COMMANDS, COORDINATOR, SUBCLOUDS, PREPARE)
    began = monotonic()
    for queue in queues:
        host.put(queue, *poison(random, queue, count))
    for queue in queues:
        wait_for(lambda queue=queue: host.count(dead_letters_of(queue)) == count, 240)
    sys.stdout.write(f"{4 * count} malformed messages in {monotonic() - began:.1f} s\n")

    requester = Requester(host)
    asked_at = monotonic()
    answer = requester.ask(command_event("group.create", "next", **GROUP))
    took_s = monotonic() - asked_at
    requester.close()

    assert (200, True) == (answer.status, took_s < SERVED_S), (answer, took_s)
    assert threads <= {thread.name for thread in threading.enumerate()}
    assert 0 == sum(host.count(queue) for queue in queues)
    # Every queue is served: a strategy needs them all.
    assert "complete" == run_strategy(installation)
    for queue in queues:
        assert all(properties.headers[REASON] for properties, _ in host.dead_letters(queue, min(count, 100)))
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.CRITICAL]


def run_strategy(installation: StartedInstallation) -> str:
    """Run a strategy to its end and return its state."""
    assert installation.create().status == 200
    assert installation.verb("apply").status == 200
    wait_for(lambda: installation.rows(strategies)[-1]["finished_at"])
    return str(installation.rows(strategies)[-1]["state"])


def requests(port: int, token: str) -> list[bytes]:
    """Return valid requests as bytes."""
    form = (
        b'--b0\r\nContent-Disposition: form-data; name="bootstrap_values"; filename="f.yml"\r\n\r\n'
        b"name: m\nsystem_mode: simplex\n\r\n"
        b'--b0\r\nContent-Disposition: form-data; name="group_id"\r\n\r\n1\r\n--b0--\r\n'
    )
    bodies: list[tuple[str, str, bytes, str]] = [
        ("GET", "/v1.0/subclouds?limit=2&marker=1", b"", ""),
        ("GET", "/v1.0/sw-update-strategy?type=prestage", b"", ""),
        ("GET", "/v1.0/sw-update-strategy/steps/a", b"", ""),
        ("POST", "/v1.0/subcloud-groups", json.dumps(GROUP).encode(), "application/json"),
        (
            "PATCH",
            "/v1.0/subclouds/a",
            b'{"description": "\\u00e9", "management-state": "managed"}',
            "application/json",
        ),
        ("PATCH", "/v1.0/subclouds/a/prestage", b'{"sysadmin_password": "TGk=", "force": "t"}', "application/json"),
        ("POST", "/v1.0/sw-update-strategy", b'{"type": "prestage", "sysadmin_password": "TGk="}', "text/plain"),
        ("POST", "/v1.0/sw-update-strategy/actions", b'{"action": "apply"}', "application/x-www-form-urlencoded"),
        ("POST", "/v1.0/subclouds", form, "multipart/form-data; boundary=b0"),
        ("DELETE", "/v1.0/subcloud-groups/edge", b"", ""),
    ]
    whole = []
    for method, path, body, kind in bodies:
        head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"X-Auth-Token: {token}", "Connection: close"]
        head += [f"Content-Type: {kind}"] if kind else []
        head += [f"Content-Length: {len(body)}"] if body else []
        whole.append("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    return whole


async def attack(port: int, random: Random, good: list[bytes], count: int) -> tuple[Counter[int | None], list[bytes]]:
    """Send mutated requests, forty at a time; return the statuses, and the requests that broke something."""
    statuses: Counter[int | None] = Counter()
    broke: list[bytes] = []
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            request = mutated(random, random.choice(good))
            # A request that is not whole yet is waited for, so patience is short.
            status = await exchange(port, request, 0.6)
            statuses[status] += 1
            if status is not None and (status == 0 or status >= 500):
                broke.append(request)

    await asyncio.gather(*(caller() for _ in range(40)))
    return statuses, broke


def test_malformed_requests(start: Callable[[None], StartedInstallation], caplog: pytest.LogCaptureFixture) -> None:
    """No malformed request is answered with a fault of ours, none leaves a task behind, the next one is served."""
    random = seeded()
    installation = start(None)
    installation.add_site("a")
    with served(installation) as server:
        good = requests(server.port, server.token)
        valid = [asyncio.run(exchange(server.port, request, 10)) for request in good]
        stored = len(installation.rows(commands))
        began = monotonic()
        statuses, broke = asyncio.run(attack(server.port, random, good, scaled(500, 10_000)))
        sys.stdout.write(f"{statuses.total()} requests in {monotonic() - began:.1f} s: {dict(statuses)}\n")

        asked_at = monotonic()
        status = asyncio.run(exchange(server.port, good[0], 10))
        took_s = monotonic() - asked_at
        wait_for(lambda: installation.loop.do(task_count()) <= 2)

    assert all(status is not None and status < 500 for status in valid), valid
    assert [] == broke
    assert (200, True) == (status, took_s < SERVED_S)
    assert len(installation.rows(commands)) > stored
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [] == [(record.name, record.getMessage()) for record in loud]


async def task_count() -> int:
    """Return how many tasks the loop has, this one not counted."""
    return len(asyncio.all_tasks()) - 1
