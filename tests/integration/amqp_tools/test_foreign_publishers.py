"""Programs of others send commands and hear events over RabbitMQ, as docs/amqp.md says."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.amqp.topology import EVENTS, dead_letters_of
from db.schema import commands, strategies, subclouds
from messages.queues import COMMANDS, COORDINATOR, PREPARE, SUBCLOUDS
from tests.integration.amqp_tools.amqp_installation import ROOT, AmqpInstallation, Prestager
from tests.support.verifying_receiver import verifying
from tests.support.waiting import PATIENCE_S

SOURCE = "//ci.example.net/night"
SECRET = "whsec_" + "c2VjcmV0" * 4
SITE = {
    "name": "site0",
    "software_version": "22.12",
    "management-state": "managed",
    "availability-status": "online",
    "external_oam_floating_address": "10.10.10.2",
}


@pytest.fixture(scope="module")
def publisher(installation: AmqpInstallation) -> str:
    """Give the address of a user that may write to the commands exchange and nothing else."""
    return installation.host.outsider(configure="", write=r"^prestager\.commands$", read="")[1]


@pytest.fixture
def listener(installation: AmqpInstallation) -> Iterator[subprocess.Popen[str]]:
    """Give the example of a listener, which listens, as a user that may do nothing else."""
    _, url = installation.host.outsider(
        configure=r"^amq\.gen-.*", write=r"^amq\.gen-.*", read=r"^(amq\.gen-.*|prestager\.events)$"
    )
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "listen_events.py", "strategy.#", "subcloud.*"],
        env={"PATH": os.environ["PATH"], "AMQP_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "listening\n" == process.stderr.readline()
    yield process
    process.kill()
    process.communicate()


def test_the_same_command_twice_acts_once(running: AmqpInstallation, publisher: str) -> None:
    """The same source and id twice have one effect and get the same answer; another id meets what is there."""
    before = running.rows(subclouds)

    first = running.send(publisher, SOURCE, "add-1", "subcloud.add", json.dumps(SITE))
    second = running.send(publisher, SOURCE, "add-1", "subcloud.add", json.dumps(SITE))
    other = running.send(publisher, SOURCE, "add-2", "subcloud.add", json.dumps(SITE))

    assert 200 == first[1]["status"], first
    assert (0, first[1]) == second
    assert (1, 409) == (other[0], other[1]["status"])
    assert before + 1 == running.rows(subclouds)


def test_an_id_belongs_to_its_source(running: AmqpInstallation, publisher: str) -> None:
    """Two sources may use the same id; one source may not use an id for two commands."""
    before = running.rows(commands)
    group = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}

    mine = running.send(publisher, "/mine", "1", "group.create", json.dumps(group))
    theirs = running.send(publisher, "/theirs", "1", "group.create", json.dumps({**group, "name": "far"}))
    reused = running.send(publisher, "/mine", "1", "strategy.abort")

    assert [200, 200] == [mine[1]["status"], theirs[1]["status"]]
    assert (409, "This command id was used for another command.") == (reused[1]["status"], reused[1]["detail"])
    assert before + 2 == running.rows(commands)


def test_a_strategy_from_outside(running: AmqpInstallation, publisher: str, listener: subprocess.Popen[str]) -> None:
    """An outsider creates and applies a strategy with a password that is sealed for its command; a listener hears."""
    running.send(publisher, SOURCE, "site-1", "subcloud.add", json.dumps({**SITE, "name": "night0"}))
    user = pika.URLParameters(publisher).credentials.username
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "seal", "--source", SOURCE, "--id", "create-1", "--user", user],
        env=running.environment,
        input="Li69nux*\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    request = json.dumps({"type": "prestage", "cloud_name": "night0"})
    before = running.rows(strategies)

    created = running.send(publisher, SOURCE, "create-1", "strategy.create", request, done.stdout.strip())
    again = running.send(publisher, SOURCE, "create-1", "strategy.create", request, done.stdout.strip())
    applied = running.send(publisher, SOURCE, "apply-1", "strategy.apply", '{"type": "prestage"}')
    heard: list[str] = []
    assert listener.stdout is not None
    while not heard or heard[-1] != "io.prestager.event.strategy.prestage.complete":
        line = listener.stdout.readline()
        assert line
        heard.append(json.loads(line)["type"])
        assert "failed" not in heard[-1]

    assert [200, 200, 200] == [created[1]["status"], again[1]["status"], applied[1]["status"]]
    assert created == again
    assert before + 1 == running.rows(strategies)


def test_what_is_no_command_is_a_dead_letter(running: AmqpInstallation, publisher: str) -> None:
    """A type that does not exist is answered 400 with what is wrong, and kept as a dead letter."""
    running.host.purge()

    code, answer = running.send(publisher, SOURCE, "odd", "strategy.paint")

    assert (1, 400) == (code, answer["status"])
    assert "type is none of" in answer["detail"]
    running.host.await_count(dead_letters_of(COMMANDS), 1)


BAD = (
    b"",
    b"no json",
    b"[]",
    b"\xff\xfe",
    b"[" * 60_000,
    b'{"specversion": "1.0"}',
    b'{"actor_name": "stage_content", "args": ["a"], "kwargs": {}, "options": {"redis_message_id": 1}}',
    b'{"queue_name": "prestager.subclouds", "actor_name": "os.system", "args": [1], "kwargs": {}, "options": {},'
    b' "message_id": "1", "message_timestamp": 1}',
    b'"' + b"x" * 70_000 + b'"',
)


@pytest.mark.parametrize("queue", [COMMANDS, COORDINATOR, SUBCLOUDS, PREPARE])
def test_hostile_messages_stop_nothing(running: AmqpInstallation, publisher: str, queue: str) -> None:
    """Whatever is put into a queue is a dead letter, and the next command is served."""
    running.host.purge()
    for body in BAD:
        running.host.put(queue, body)

    running.host.await_count(dead_letters_of(queue), len(BAD))
    group = {
        "name": f"after-{queue.rpartition('.')[2]}",
        "description": "d",
        "update_apply_type": "serial",
        "max_parallel_subclouds": 2,
    }
    code, answer = running.send(publisher, SOURCE, f"after-{queue}", "group.create", json.dumps(group))

    assert (0, 200) == (code, answer["status"]), answer
    assert 0 == running.host.count(queue)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda channel: channel.basic_publish("", SUBCLOUDS, b"{}"),
        lambda channel: channel.basic_publish(EVENTS, "strategy.prestage.complete", b"{}"),
        lambda channel: channel.basic_get(COMMANDS),
        lambda channel: channel.queue_declare("mine"),
        lambda channel: channel.queue_purge(COMMANDS),
    ],
    ids=["default exchange", "events", "read", "declare", "purge"],
)
def test_an_outsider_can_do_nothing_else(publisher: str, attempt: Callable[[BlockingChannel], object]) -> None:
    """The rights that the guide gives to a publisher allow commands and nothing besides."""
    with pika.BlockingConnection(pika.URLParameters(publisher)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()

        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            attempt(channel)


def test_a_webhook_by_message(
    running: AmqpInstallation, publisher: str, prestager: Prestager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program makes a webhook with a secret sealed for that one command, and what is sent is signed by it."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    # Before it the running service may have logged.
    user = pika.URLParameters(publisher).credentials.username
    sealed = prestager("seal", "--source", SOURCE, "--id", "hook-1", "--user", user).out.split()[-1]

    with verifying(SECRET) as receiver:
        request = json.dumps({"name": "ci", "url": receiver.url})
        made = running.send(publisher, SOURCE, "hook-1", "webhook.create", request, sealed)
        pinged = running.send(publisher, SOURCE, "ping-1", "webhook.ping/ci")
        event = receiver.next()
        removed = running.send(publisher, SOURCE, "hook-2", "webhook.delete/ci")

    assert [200, 200, 200] == [answer[1]["status"] for answer in (made, pinged, removed)], made
    assert ("io.prestager.event.webhook.ping", {"webhook": "ci"}) == (event["type"], event["data"])
