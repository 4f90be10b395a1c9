"""Dead letters: keep unreadable messages with the reason; list, put back and purge them for the command line.

Listing takes letters from the broker without settling them, so for that moment another reader does not see them; they
are back, in their order, when it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from broker.amqp.connection import short_connection
from broker.amqp.errors import DeadLetterAdminError
from broker.amqp.publisher import Outgoing, Publisher
from broker.amqp.topology import MAX_BODY_BYTES, WORK_QUEUES, dead_letters_of
from messages.queues import COMMANDS

_log = structlog.get_logger(__name__)

# Header with the reason why a message became a dead letter.
REASON: Final = "x-prestager-reason"
# Header of a message that we publish again for its publisher: the user that RabbitMQ vouched for then, empty for none.
PUBLISHED_BY: Final = "x-prestager-published-by"
_TEXT_LENGTH: Final = 255

_TIMEOUT_S: Final = 10
# The same for metrics, which are read again soon.
_METRICS_S: Final = 2
_NOT_FOUND: Final = 404
# What RabbitMQ's own reasons mean here.
_MEANINGS: Final[Mapping[str, str]] = {
    "rejected": "rejected: the actor that took it failed",
    "expired": "expired: nobody took it as long as its sender wanted to wait; it never ran",
    "delivery_limit": "delivery_limit: whoever took it died, as often as the queue allows",
    "maxlen": "maxlen: its queue was full",
}
# Headers of its death; a letter that is put back starts anew.
_OF_DEATH: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", REASON)
# The first digits of a body's checksum stand for an id that is missing.
_DIGITS: Final = 12


def publisher_of(properties: pika.BasicProperties, own_user: str) -> str:
    """Return the user that published a message first, as RabbitMQ vouches for it; empty when it does for none.

    The header is believed only of what our own user published: a message that was put back after it was a dead letter.
    """
    user = properties.user_id or ""
    if user != own_user:
        return user
    headers = properties.headers or {}
    return str(headers[PUBLISHED_BY]) if PUBLISHED_BY in headers else user


def keep_dead_letter(
    publisher: Publisher, queue: str, properties: pika.BasicProperties, body: bytes, reason: str
) -> None:
    """Keep a message as a dead letter of `queue`; the caller acknowledges it then. A longer body is cut.

    Raises:
        PublishError: It could not be kept; it stays in its queue.
    """
    publisher.publish(
        [
            Outgoing(
                exchange="",
                routing_key=dead_letters_of(queue),
                body=body[:MAX_BODY_BYTES],
                message_id=(properties.message_id or "")[:_TEXT_LENGTH],
                type="unreadable",
                content_type=(properties.content_type or "application/octet-stream")[:_TEXT_LENGTH],
                user_id=publisher.user,
                headers={REASON: reason[:1000], PUBLISHED_BY: publisher_of(properties, publisher.user)},
            )
        ]
    )
    _log.warning("message.turned-away", queue=queue, reason=reason[:300])


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One message that could not be processed."""

    # Queue that it was meant for.
    queue: str
    properties: pika.BasicProperties
    body: bytes

    @property
    def id(self) -> str:
        """Return its message id, or where it has none `sha256:` and the first digits of its body's checksum."""
        return self.properties.message_id or f"sha256:{sha256(self.body).hexdigest()[:_DIGITS]}"

    @property
    def type(self) -> str:
        """Return the type that its sender gave it; empty for none."""
        return self.properties.type or ""

    @property
    def reason(self) -> str:
        """Return why it is here."""
        reason = self._headers.get(REASON)
        if reason is not None:
            return str(reason)
        word = str(self._death.get("reason", "unknown"))
        return _MEANINGS.get(word, word)

    @property
    def died_at(self) -> datetime | None:
        """Return when it came here (UTC)."""
        at = self._death.get("time")
        if isinstance(at, datetime):
            return at.astimezone(UTC)
        # One that we turned away is a message of its own, stamped then.
        seconds = self.properties.timestamp
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    @property
    def _headers(self) -> Mapping[str, Any]:
        return self.properties.headers or {}

    @property
    def _death(self) -> Mapping[str, Any]:
        deaths = self._headers.get("x-death")
        return deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}

    def put_back(self, user: str) -> Outgoing:
        """Return the message as `user` publishes it to its queue once more: the same id, nothing of its death.

        A command keeps the user that published it first: it is part of the command's id.
        """
        properties = self.properties
        headers = {name: value for name, value in self._headers.items() if not name.startswith(_OF_DEATH)}
        if self.queue == COMMANDS:
            headers[PUBLISHED_BY] = publisher_of(properties, user)
        return Outgoing(
            # Straight to the queue: a dead letter is of this queue, however it was routed then.
            exchange="",
            routing_key=self.queue,
            body=self.body,
            message_id=properties.message_id or "",
            type=self.type,
            content_type=properties.content_type or "application/json",
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to,
            # RabbitMQ refuses the name of another user.
            user_id=user if self.queue == COMMANDS or properties.user_id == user else None,
            headers=headers,
        )


class DeadLetterAdmin:
    """The dead letters of one broker; made by `open_dead_letters`."""

    def __init__(self, connection: pika.BlockingConnection) -> None:
        self._connection = connection

    def counts(self) -> dict[str, int | None]:
        """Return how many letters each queue has; None for a queue that was never made."""
        return {queue.name: self._count(dead_letters_of(queue.name)) for queue in WORK_QUEUES}

    def first(self, queue: str, limit: int) -> list[DeadLetter]:
        """Return the oldest letters of a queue."""
        with self._letters_of(queue) as letters:
            return [letter for _, letter in zip(range(limit), letters, strict=False)]

    def find(self, queue: str, letter_id: str) -> DeadLetter | None:
        """Return the oldest letter of a queue with that id."""
        with self._letters_of(queue) as letters:
            return next((letter for letter in letters if letter.id == letter_id), None)

    def replay(self, queue: str, letter_id: str, publisher: Publisher) -> DeadLetter | None:
        """Put the oldest letter with that id back into its queue, then remove it; None when there is none.

        A crash in between leaves it in both places, which does no harm: receivers recognise a repeat.

        Raises:
            PublishError: The broker did not confirm; the letter is still here.
        """
        with self._channel() as channel:
            for method, letter in _letters(channel, queue):
                if letter.id == letter_id:
                    publisher.publish([letter.put_back(publisher.user)])
                    channel.basic_ack(method.delivery_tag)
                    return letter
        return None

    def purge(self, queue: str) -> int:
        """Remove all letters of a queue for good and return how many they were."""
        with self._channel() as channel:
            return int(channel.queue_purge(dead_letters_of(queue)).method.message_count)

    def _count(self, name: str) -> int | None:
        try:
            with self._channel() as channel:
                return int(channel.queue_declare(name, passive=True).method.message_count)
        except ChannelClosedByBroker as error:
            if error.reply_code == _NOT_FOUND:
                return None
            raise

    @contextmanager
    def _letters_of(self, queue: str) -> Iterator[Iterator[DeadLetter]]:
        with self._channel() as channel:
            yield (letter for _, letter in _letters(channel, queue))

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        """Give a channel; what was taken by it and not settled goes back when it closes."""
        channel = self._connection.channel()
        try:
            yield channel
        finally:
            if channel.is_open:
                channel.close()


def _letters(channel: BlockingChannel, queue: str) -> Iterator[tuple[Basic.GetOk, DeadLetter]]:
    """Take what is there, oldest first. A quorum queue's own count lags, so only an empty answer is the end."""
    name = dead_letters_of(queue)
    while True:
        method, properties, body = channel.basic_get(name)
        if method is None or properties is None:
            return
        yield method, DeadLetter(queue=queue, properties=properties, body=body or b"")


def count_dead_letters(url: str) -> dict[str, int | None]:
    """Return how many dead letters each queue has, for metrics: a silent broker is given up after 2 s.

    Raises:
        BrokerUnavailableError, DeadLetterAdminError: As `open_dead_letters`.
    """
    with open_dead_letters(url, timeout_s=_METRICS_S, heartbeat_s=_METRICS_S) as dead_letters:
        return dead_letters.counts()


@contextmanager
def open_dead_letters(
    url: str, *, timeout_s: int = _TIMEOUT_S, heartbeat_s: int | None = None
) -> Iterator[DeadLetterAdmin]:
    """Connect for one task; where `heartbeat_s` is None, RabbitMQ proposes it.

    Raises:
        BrokerUnavailableError: The broker is out of reach, or refuses the user.
        DeadLetterAdminError: It has no such queue, or the user has no right to it.
    """
    with short_connection(url, "prestager dead-letters", timeout_s=timeout_s, heartbeat_s=heartbeat_s) as connection:
        try:
            yield DeadLetterAdmin(connection)
        except ChannelClosedByBroker as error:
            raise DeadLetterAdminError(error.reply_text) from error
