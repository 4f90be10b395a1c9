"""`prestager queues`: what waits on RabbitMQ, who takes it, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pika
from pika.exceptions import ChannelClosedByBroker

from actors.amqp.broker_errors import short_connection
from actors.amqp.topology import WORK_QUEUES, dead_letters_of
from cli.configuration import read_settings
from cli.errors import CommandError
from cli.tables import print_table
from messages.queues import COMMANDS, COORDINATOR, PRECHECKS, PREPARE, SUBCLOUDS

_TIMEOUT_S: Final = 5
_NOT_FOUND: Final = 404

# What a message in each queue is, who takes it, and what to do when nobody does.
_MEANING: Final[Mapping[str, tuple[str, str]]] = {
    COMMANDS: ("commands of callers, who wait", "no coordinator runs: prestager coordinator"),
    COORDINATOR: ("results of runs", "no coordinator runs: prestager coordinator"),
    PRECHECKS: ("sites to be checked", "no worker serves it: prestager worker"),
    SUBCLOUDS: ("playbooks that wait for a slot", "no worker with a free slot serves it"),
    PREPARE: ("preparations that wait for a slot", "no worker with a free slot, and the feeds, serves it"),
}
# Messages that may wait without anything being wrong: of commands and results each is dealt with in milliseconds.
_MAY_WAIT: Final[Mapping[str, int]] = {COMMANDS: 50, COORDINATOR: 200}

# Messages ready and consumers; None: the queue was never made.
State = tuple[int, int] | None


def queues() -> None:
    """Show what waits in each queue, how many take from it, and what that means. It needs PRESTAGER_BROKER_URL.

    A worker whose slots are all taken does not count as a consumer until one is free.
    """
    settings = read_settings()
    if settings.broker_url is None:
        raise CommandError("Set PRESTAGER_BROKER_URL: without a broker there are no queues.")
    states = _read(settings.broker_url.get_secret_value())
    rows = [(name, *_shown(states[name]), verdict(name, states[name])) for name in states]
    print_table(("QUEUE", "READY", "CONSUMERS", "MEANING"), rows)


def verdict(queue: str, state: State) -> str:
    """Return what the state of a queue means."""
    if state is None:
        return "not made yet; the first coordinator or worker makes it"
    ready, consumers = state
    if queue not in _MEANING:
        return (
            f"look at them: prestager dead-letters list {queue.removesuffix('.XQ')}" if ready else "none, as it should"
        )
    content, missing = _MEANING[queue]
    if not consumers:
        return f"{content}; {missing}" if ready or queue == COMMANDS else f"{content}; nobody takes them now"
    if ready > _MAY_WAIT.get(queue, ready):
        return f"{content}; more than usual: is the coordinator slow, or its database?"
    return content


def _shown(state: State) -> tuple[str, str]:
    return ("-", "-") if state is None else (str(state[0]), str(state[1]))


def _read(url: str) -> dict[str, State]:
    names = [name for spec in WORK_QUEUES for name in (spec.name, dead_letters_of(spec.name))]
    with short_connection(url, "prestager queues", timeout_s=_TIMEOUT_S) as connection:
        return {name: _state(connection, name) for name in sorted(names, key=lambda name: name.endswith(".XQ"))}


def _state(connection: pika.BlockingConnection, name: str) -> State:
    channel = connection.channel()
    try:
        found = channel.queue_declare(name, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code == _NOT_FOUND:
            return None
        raise
    channel.close()
    return int(found.message_count), int(found.consumer_count)
