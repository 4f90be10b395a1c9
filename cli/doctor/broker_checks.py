"""RabbitMQ: reached, and everything on it as we declare it. Needs no management plug-in; changes nothing.

Arguments are compared by the broker itself: it refuses a declaration that differs from what is there. That closes the
channel, so each check has one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ChannelWrongStateError

from broker.amqp.connection import short_connection
from broker.amqp.errors import BrokerUnavailableError, broker_address
from broker.amqp.topology import EXCHANGES, QUEUES, WORK_QUEUES, ExchangeSpec, QueueSpec, dead_letters_of
from cli.doctor.finding import Finding, fail, ok, warn
from messages.queues import COMMANDS
from service.settings import Settings

_TIMEOUT_S: Final = 5
_NOT_FOUND: Final = 404
_DIFFERENT: Final = 406


def broker_findings(settings: Settings) -> Iterator[Finding]:
    """Look at the broker; an embedded installation has none."""
    if settings.broker_url is None:
        yield ok("broker", "not asked for: PRESTAGER_BROKER_URL is not set, one process does everything.")
        return
    url = settings.broker_url.get_secret_value()
    try:
        with short_connection(url, "prestager doctor", timeout_s=_TIMEOUT_S) as connection:
            yield ok("broker", f"{broker_address(url)} answers.")
            yield from _topology(connection)
            yield from _traffic(connection)
    except BrokerUnavailableError as error:
        yield fail("broker", str(error))
        return
    yield ok(
        "consumer_timeout",
        "any value will do: no delivery is held while a playbook runs, the longest for about a second.",
    )


def _topology(connection: pika.BlockingConnection) -> Iterator[Finding]:
    found = [
        *(_compare(connection, spec.name, *_exchange_calls(spec)) for spec in EXCHANGES),
        *(_compare(connection, spec.name, *_queue_calls(spec)) for spec in QUEUES),
    ]
    faults = [finding for finding in found if finding is not None]
    yield from faults
    if not faults:
        yield ok("topology", f"{len(EXCHANGES)} exchanges and {len(QUEUES)} queues are there as declared.")


Call = Callable[[BlockingChannel], object]


def _exchange_calls(spec: ExchangeSpec) -> tuple[Call, Call]:
    return (
        lambda channel: channel.exchange_declare(spec.name, passive=True),
        lambda channel: channel.exchange_declare(spec.name, spec.kind, durable=True),
    )


def _queue_calls(spec: QueueSpec) -> tuple[Call, Call]:
    return (
        lambda channel: channel.queue_declare(spec.name, passive=True),
        lambda channel: channel.queue_declare(spec.name, durable=True, arguments=dict(spec.arguments)),
    )


def _compare(connection: pika.BlockingConnection, name: str, look: Call, declare: Call) -> Finding | None:
    """Return what is wrong with one object; it is declared only when it is there, which changes nothing."""
    channel = connection.channel()
    try:
        look(channel)
        declare(channel)
    except ChannelClosedByBroker as error:
        return _fault(name, error)
    finally:
        with suppress(ChannelWrongStateError):
            channel.close()
    return None


def _fault(name: str, error: ChannelClosedByBroker) -> Finding:
    if error.reply_code == _NOT_FOUND:
        return warn(name, "is not there yet; the next start of a coordinator or worker makes it.")
    if error.reply_code == _DIFFERENT:
        return fail(
            name,
            f"is not as this version declares it ({error.reply_text}). Stop the service, let the queue run empty,"
            " delete it on the broker, and start again: the database knows what is to be done.",
        )
    return fail(name, f"cannot be looked at: {error.reply_text}. Give the broker's user configure, write and read.")


def _traffic(connection: pika.BlockingConnection) -> Iterator[Finding]:
    for queue in WORK_QUEUES:
        letters = _state(connection, dead_letters_of(queue.name))
        if letters is not None and letters[0]:
            yield warn(
                dead_letters_of(queue.name),
                f"has {letters[0]} dead letters; see: prestager dead-letters list {queue.name}",
            )
    commands = _state(connection, COMMANDS)
    if commands is not None and not commands[1]:
        yield warn(COMMANDS, "has no consumer: no coordinator runs. Start one: prestager coordinator")


def _state(connection: pika.BlockingConnection, queue: str) -> tuple[int, int] | None:
    """Return messages and consumers of a queue; None when it cannot be read, which another finding says."""
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker:
        return None
    channel.close()
    return found.message_count, found.consumer_count
