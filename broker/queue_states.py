"""States of the queues on RabbitMQ and what they mean, as `prestager queues` and the API tell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from db.heartbeats import ServedQueue
from messages.queues import COMMANDS, COORDINATOR, PRECHECKS, PREPARE, SUBCLOUDS

if TYPE_CHECKING:
    import pika

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


def read_queue_states(url: str, name: str, *, timeout_s: float) -> dict[str, State]:
    """Ask RabbitMQ for the messages and consumers of each queue, those of dead letters last; blocks.

    Args:
        url: Of the broker, with user and password.

        name: What RabbitMQ shows of the connection.

        timeout_s: How long each step may take, in seconds.

    Raises:
        BrokerUnavailableError: The broker is out of reach, refuses the user, or breaks the connection.
    """
    # Processes without RabbitMQ load this module too.
    from broker.amqp.connection import short_connection  # noqa: PLC0415
    from broker.amqp.topology import WORK_QUEUES, dead_letters_of  # noqa: PLC0415

    names = [name for spec in WORK_QUEUES for name in (spec.name, dead_letters_of(spec.name))]
    with short_connection(url, name, timeout_s=timeout_s) as connection:
        return {one: _state(connection, one) for one in sorted(names, key=is_of_dead_letters)}


def is_of_dead_letters(queue: str) -> bool:
    """Return whether a queue keeps the dead letters of another one."""
    return queue.endswith(".XQ")


def _state(connection: pika.BlockingConnection, name: str) -> State:
    from pika.exceptions import ChannelClosedByBroker  # noqa: PLC0415

    channel = connection.channel()
    try:
        found = channel.queue_declare(name, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code == _NOT_FOUND:
            return None
        raise
    channel.close()
    return int(found.message_count), int(found.consumer_count)
