"""`prestager dead-letters` on a real broker."""

from __future__ import annotations

import json
import socket
from time import monotonic

import pika
import pytest

from broker.amqp.dead_letters import count_dead_letters
from broker.amqp.errors import BrokerUnavailableError
from broker.amqp.topology import dead_letters_of
from messages.queues import COMMANDS, SUBCLOUDS
from tests.integration.amqp_tools.amqp_installation import AmqpInstallation, Prestager
from tests.support.tcp_proxy import HOST
from tests.support.waiting import BUSY_FACTOR, PATIENCE_S

XQ = dead_letters_of(COMMANDS)


@pytest.fixture(autouse=True)
def clean(installation: AmqpInstallation) -> None:
    """Begin with empty queues."""
    installation.host.purge()


def turned_away(
    installation: AmqpInstallation, letter_id: str, body: bytes = b"{}", reason: str = "the message is no CloudEvent"
) -> None:
    """Put a letter as the ingress does."""
    installation.host.put(XQ, body, message_id=letter_id, type="unreadable", headers={"x-prestager-reason": reason})


def rejected(installation: AmqpInstallation, queue: str, letter_id: str, body: bytes = b"{}") -> None:
    """Have the broker make a message a dead letter, as a failed actor does."""
    installation.host.put(
        queue,
        body,
        message_id=letter_id,
        type="stage_content",
        correlation_id="mark",
        content_type="application/json",
        headers={"traceparent": "00-1"},
    )
    with installation.host.channel() as channel:
        method, _, _ = channel.basic_get(queue)
        assert method is not None
        channel.basic_nack(method.delivery_tag, requeue=False)
    installation.host.await_count(dead_letters_of(queue), 1)


def taken(installation: AmqpInstallation, queue: str) -> tuple[pika.BasicProperties, bytes]:
    """Take the only message of a queue."""
    installation.host.await_count(queue, 1)
    with installation.host.channel() as channel:
        # A queue with a single active consumer refuses a plain get.
        method, properties, body = next(channel.consume(queue, inactivity_timeout=PATIENCE_S))
        assert method is not None
        assert properties is not None
        channel.basic_ack(method.delivery_tag)
    return properties, body or b""


def test_list_says_how_many_and_why(installation: AmqpInstallation, prestager: Prestager) -> None:
    """The list has a count for each queue, and for the oldest letters the reason and how long they are there."""
    turned_away(installation, "first")
    turned_away(installation, "second", reason="type is none of ours")
    rejected(installation, SUBCLOUDS, "third")

    ended = prestager("dead-letters", "list")

    assert 0 == ended.code, ended.err
    counts, letters = ended.out.split("\n\n")
    assert ["prestager.commands", "2"] in [line.split() for line in counts.splitlines()]
    assert ["prestager.prepare", "0"] in [line.split() for line in counts.splitlines()]
    first, second, third = letters.splitlines()[1:]
    assert "first" in first
    assert "no CloudEvent" in first
    assert "type is none of ours" in second
    assert "third" in third
    assert "rejected: the actor that took it failed" in third
    assert " 0 s " in third or " 1 s " in third


def test_letters_for_programs(installation: AmqpInstallation, prestager: Prestager) -> None:
    """Every form but a table lists the letters alone on standard output, and the numbers as sentences beside it."""
    turned_away(installation, "first", body=b'{"password": "hunter2"}')

    listed = prestager("dead-letters", "list", "commands", "-o", "json")
    names = prestager("dead-letters", "list", "-o", "name")
    shown = prestager("dead-letters", "show", "commands", "first", "-o", "json")

    (letter,) = json.loads(listed.out)
    assert ("first", "unreadable") == (letter["id"], letter["type"])
    assert "prestager.commands: 1" in listed.err
    assert "first\n" == names.out
    assert letter.items() <= json.loads(shown.out).items()
    assert "hunter2" not in shown.out


def test_looking_changes_nothing(installation: AmqpInstallation, prestager: Prestager) -> None:
    """Listing and showing leave every letter where it is, in its order; one queue and a number narrow the list."""
    for number in range(5):
        turned_away(installation, f"letter-{number}")

    seen = [prestager("dead-letters", "list", "commands", "--limit", "3").out for _ in range(3)]
    prestager("dead-letters", "show", "commands", "letter-4")

    assert 1 == len({text.partition("AGE")[0] for text in seen})
    assert ["letter-0", "letter-1", "letter-2"] == [word for word in seen[-1].split() if word.startswith("letter-")]
    installation.host.await_count(XQ, 5)
    with installation.host.channel() as channel:
        order = [channel.basic_get(XQ, auto_ack=True)[1] for _ in range(5)]
    assert [f"letter-{number}" for number in range(5)] == [one.message_id for one in order if one]


def test_show_hides_secrets(installation: AmqpInstallation, prestager: Prestager) -> None:
    """The body of a letter is shown without the sealed password in it."""
    sealed = "Zm9yIG5vYm9keQ=="
    body = {"id": "1", "data": {"sealed_password": sealed, "password_fault": "missing", "request": {"cloud": "edge"}}}
    turned_away(installation, "one", json.dumps(body).encode())

    ended = prestager("dead-letters", "show", "prestager.commands.XQ", "one")

    assert 0 == ended.code, ended.err
    assert sealed not in ended.out
    assert '"sealed_password": "********"' in ended.out
    assert '"cloud": "edge"' in ended.out
    assert "the message is no CloudEvent" in ended.out


def test_replay_puts_one_back(installation: AmqpInstallation, prestager: Prestager) -> None:
    """A replayed letter is in its queue as it was sent, without the marks of its death; the others stay."""
    rejected(installation, SUBCLOUDS, "one", b'{"a": 1}')
    installation.host.put(dead_letters_of(SUBCLOUDS), b"{}", message_id="other")

    ended = prestager("dead-letters", "replay", "subclouds", "one")

    assert 0 == ended.code, ended.err
    properties, body = taken(installation, SUBCLOUDS)
    assert b'{"a": 1}' == body
    assert ("one", "stage_content", "mark") == (properties.message_id, properties.type, properties.correlation_id)
    assert {"traceparent": "00-1"} == properties.headers
    left, _ = taken(installation, dead_letters_of(SUBCLOUDS))
    assert "other" == left.message_id


def test_a_letter_without_id(installation: AmqpInstallation, prestager: Prestager) -> None:
    """What has no id is named by the checksum of its body, and can be put back by that name."""
    installation.host.put(XQ, b"no json")
    listed = prestager("dead-letters", "list", "commands").out
    name = next(word for word in listed.split() if word.startswith("sha256:"))

    ended = prestager("dead-letters", "replay", "commands", name)

    assert 0 == ended.code, ended.err
    assert b"no json" == taken(installation, COMMANDS)[1]


def test_a_replay_that_the_queue_refuses_loses_nothing(installation: AmqpInstallation, prestager: Prestager) -> None:
    """A letter whose queue is gone stays a dead letter, and the operator is told."""
    installation.host.put(dead_letters_of("prestager.prepare"), b"{}", message_id="one")
    with installation.host.channel() as channel:
        channel.queue_delete("prestager.prepare")
    try:
        ended = prestager("dead-letters", "replay", "prepare", "one")
    finally:
        installation.host.declare()

    assert 1 == ended.code
    assert "still in prestager.prepare.XQ" in ended.err
    installation.host.await_count(dead_letters_of("prestager.prepare"), 1)


def test_purge_asks_first(
    installation: AmqpInstallation, prestager: Prestager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters are thrown away after a yes only, and of the named queue only."""
    turned_away(installation, "one")
    rejected(installation, SUBCLOUDS, "other")
    unasked = prestager("dead-letters", "purge", "commands")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda _question, **_: False)

    refused = prestager("dead-letters", "purge", "commands")
    done = prestager("dead-letters", "purge", "commands", "--yes")

    assert (2, True) == (unasked.code, "Throw away 1 dead letters of prestager.commands? Give --yes" in unasked.err)
    assert (1, "Error: Nothing was changed.\n") == (refused.code, refused.err)
    assert (0, "1 dead letters of prestager.commands are gone.\n") == (done.code, done.out)
    assert [0, 1] == [installation.host.count(XQ), installation.host.count(dead_letters_of(SUBCLOUDS))]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "commands", "nobody"), "has no letter nobody"),
        (("replay", "commands", "nobody"), "prestager dead-letters list"),
        (("list", "comands"), "name one of: prestager.commands"),
    ],
)
def test_what_is_not_there(prestager: Prestager, arguments: tuple[str, ...], told: str) -> None:
    """A wrong name is one sentence that says what to do."""
    ended = prestager("dead-letters", *arguments)

    assert 1 == ended.code
    assert told in ended.err


def test_without_a_broker(prestager: Prestager) -> None:
    """An embedded installation has no dead letters, and says so; a broker that is away is named as such."""
    embedded = prestager("dead-letters", "list", BROKER_URL="")
    away = prestager("dead-letters", "list", BROKER_URL="amqp://u:p@127.0.0.1:9/")

    assert [1, 1] == [embedded.code, away.code]
    assert "PRESTAGER_BROKER_URL is not set" in embedded.err
    assert "takes no connection" in away.err


def test_who_watches_gives_a_silent_broker_up() -> None:
    """Whoever counts for a scrape is told within seconds that the broker does not answer."""
    with socket.create_server((HOST, 0)) as silent:
        began = monotonic()
        with pytest.raises(BrokerUnavailableError, match="does not answer"):
            count_dead_letters(f"amqp://{HOST}:{silent.getsockname()[1]}/")

    assert monotonic() - began < 5 * BUSY_FACTOR
