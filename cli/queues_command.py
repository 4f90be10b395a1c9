"""`prestager queues`: what waits on RabbitMQ, who takes it, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pika
import typer
from pika.exceptions import ChannelClosedByBroker
from sqlalchemy.exc import SQLAlchemyError

from broker.amqp.connection import short_connection
from broker.amqp.topology import WORK_QUEUES, dead_letters_of
from cli.installation import checked_database
from cli.tables import print_table
from db.errors import explain_database_error
from db.heartbeats import ServedQueue, served_queues
from messages.queues import COMMANDS, COORDINATOR, PRECHECKS, PREPARE, SUBCLOUDS
from service.errors import CommandError, StartError
from service.load_settings import read_settings

_TIMEOUT_S: Final = 5
_NOT_FOUND: Final = 404

# What a message in each queue is, and what to do when no coordinator takes it.
_OF_COORDINATOR: Final[Mapping[str, str]] = {
    COMMANDS: "commands of callers, who wait",
    COORDINATOR: "results of runs",
}
_OF_WORKERS: Final[Mapping[str, str]] = {
    PRECHECKS: "sites to be checked",
    SUBCLOUDS: "playbooks that wait for a slot",
    PREPARE: "preparations that wait for a slot",
}
_NO_COORDINATOR: Final = "no coordinator runs: prestager coordinator"
# Messages that may wait without anything being wrong: of commands and results each is dealt with in milliseconds.
_MAY_WAIT: Final[Mapping[str, int]] = {COMMANDS: 50, COORDINATOR: 200}

# Messages ready and consumers; None: the queue was never made.
State = tuple[int, int] | None


def queues() -> None:
    """Show what waits in each queue, who serves it with how many free slots, and what that means.

    It needs PRESTAGER_BROKER_URL; workers are known by their heartbeats in the database, at most 10 s old. A worker
    whose slots are all taken, or that drains, does not count as a consumer.
    """
    settings = read_settings()
    if settings.broker_url is None:
        raise CommandError(
            "Set PRESTAGER_BROKER_URL: without a broker there are no queues, and one process does everything."
        )
    states = _read(settings.broker_url.get_secret_value())
    served = _served()
    rows = [
        (name, *_shown(states[name]), *_workers(served.get(name)), verdict(name, states[name], served.get(name)))
        for name in states
    ]
    print_table(("QUEUE", "READY", "CONSUMERS", "WORKERS", "FREE SLOTS", "MEANING"), rows)


def verdict(queue: str, state: State, served: ServedQueue | None = None) -> str:
    """Return what the state of a queue means; without `served` it is not known who serves it."""
    if state is None:
        return "not made yet; the first coordinator or worker makes it"
    ready, consumers = state
    if queue in _OF_WORKERS:
        return f"{_OF_WORKERS[queue]}; {_work(served)}" if not consumers else _OF_WORKERS[queue]
    if queue not in _OF_COORDINATOR:
        return (
            f"look at them: prestager dead-letters list {queue.removesuffix('.XQ')}" if ready else "none, as it should"
        )
    content = _OF_COORDINATOR[queue]
    if not consumers:
        return f"{content}; {_NO_COORDINATOR}"
    if ready > _MAY_WAIT[queue]:
        return f"{content}; more than usual: is the coordinator slow, or its database?"
    return content


def _work(served: ServedQueue | None) -> str:
    """Return why no worker takes from a queue now."""
    if served is None:
        return "nobody takes them now: no worker serves it, or all slots are busy"
    if served.missing is not None:
        return served.missing[:1].lower() + served.missing[1:]
    if served.slots and not served.free:
        return f"all {served.slots} slots are busy: {', '.join(served.workers)}"
    return f"{', '.join(served.workers)} is about to take them, or has no connection to the broker"


def _workers(served: ServedQueue | None) -> tuple[str, str]:
    """Return who serves a queue, and how many of their slots are free."""
    if served is None:
        return "", ""
    names = [*served.workers, *(f"{name} (draining)" for name in served.draining)]
    return ", ".join(names) or "none", f"{served.free} of {served.slots}" if served.slots else ""


def _served() -> dict[str, ServedQueue]:
    """Return who serves each queue of workers; nothing, with a warning, where the database does not say."""
    try:
        with checked_database() as database, database.read() as connection:
            return {one.queue: one for one in served_queues(connection)}
    except (CommandError, StartError) as error:
        typer.echo(f"Warning: who serves the queues is not known. {error}", err=True)
    except SQLAlchemyError as error:
        typer.echo(
            f"Warning: who serves the queues is not known. {explain_database_error(error).sentence('The database')}",
            err=True,
        )
    return {}


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
