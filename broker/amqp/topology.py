"""Exchanges and queues on RabbitMQ with their arguments. Values only; the publisher declares them.

Written for RabbitMQ 4 and run on 3.10: every queue is a quorum queue, and dead letters are moved at least once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from messages.queues import COMMANDS, COORDINATOR, PRECHECKS, PREPARE, SUBCLOUDS

EVENTS: Final = "prestager.events"
CONTROL: Final = "prestager.control"

# RabbitMQ's direct reply-to: no queue, but the requester's channel, under a name that cannot be guessed.
DIRECT_REPLY: Final = "amq.rabbitmq.reply-to"
# Queues of foreign publishers for answers: `prestager.replies.<user>.<name>`.
REPLIES: Final = "prestager.replies"

# Largest body of a foreign publisher, in bytes; RabbitMQ itself takes 16 MiB to 128 MiB.
MAX_BODY_BYTES: Final = 65_536
# Largest body of our own API: a request of 1 MiB, and as much beside it as a foreign publisher has in all.
MAX_OWN_BODY_BYTES: Final = 1_048_576 + MAX_BODY_BYTES
# A message that killed its consumer this often is a dead letter.
_DELIVERY_LIMIT: Final = 5
# Commands that may wait; RabbitMQ refuses more.
_MAX_COMMANDS: Final = 10_000
_DEAD_LETTER_DAYS: Final = 14
_DAY_MS: Final = 86_400_000
# How often a dead letter may be listed.
_LISTINGS: Final = 1_000_000_000


def dead_letters_of(queue: str) -> str:
    """Return the name of a queue's dead letters."""
    return f"{queue}.XQ"


def is_direct_reply(address: str) -> bool:
    """Return whether an answer to this address goes by direct reply-to."""
    return address == DIRECT_REPLY or address.startswith(f"{DIRECT_REPLY}.")


def is_reply_queue_of(user: str, address: str) -> bool:
    """Return whether an address is a queue for answers to one RabbitMQ user; an empty user has none.

    The last part holds no dot: else the queues of the user `a.b` would be the user `a`'s too.
    """
    prefix = f"{REPLIES}.{user}."
    name = address.removeprefix(prefix)
    return bool(user) and address.startswith(prefix) and bool(name) and "." not in name


@dataclass(frozen=True, kw_only=True)
class QueueSpec:
    """One queue and its arguments."""

    name: str
    arguments: Mapping[str, Any]
    # Exchange and routing key that feed it, beside the default exchange.
    bindings: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class ExchangeSpec:
    """One exchange."""

    name: str
    # topic or fanout.
    kind: str


EXCHANGES: Final = (
    ExchangeSpec(name=COMMANDS, kind="topic"),
    ExchangeSpec(name=EVENTS, kind="topic"),
    # Each worker alive has an exclusive queue at it.
    ExchangeSpec(name=CONTROL, kind="fanout"),
)


def _work_queue(name: str, *, one_consumer: bool = False, **more: Any) -> QueueSpec:
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": _DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_letters_of(name),
        # At-least-once dead lettering needs a queue that refuses rather than drops.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    if one_consumer:
        arguments["x-single-active-consumer"] = True
    bindings = ((COMMANDS, "#"),) if name == COMMANDS else ()
    return QueueSpec(name=name, arguments=arguments | more, bindings=bindings)


def _dead_letter_queue(name: str) -> QueueSpec:
    arguments = {
        "x-queue-type": "quorum",
        "x-message-ttl": _DEAD_LETTER_DAYS * _DAY_MS,
        # RabbitMQ 4 would drop a letter that was listed 20 times; 3.10 has no value for "never".
        "x-delivery-limit": _LISTINGS,
    }
    return QueueSpec(name=dead_letters_of(name), arguments=arguments)


WORK_QUEUES: Final = (
    _work_queue(COMMANDS, one_consumer=True, **{"x-max-length": _MAX_COMMANDS}),
    _work_queue(COORDINATOR, one_consumer=True),
    _work_queue(PRECHECKS),
    _work_queue(SUBCLOUDS),
    _work_queue(PREPARE),
)
QUEUES: Final = (*WORK_QUEUES, *(_dead_letter_queue(queue.name) for queue in WORK_QUEUES))
