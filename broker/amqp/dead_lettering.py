"""Turn messages away that nobody here can read: kept as dead letters, with the reason."""

from __future__ import annotations

from typing import Final

import pika
import structlog

from broker.amqp.publisher import Outgoing, Publisher
from broker.amqp.topology import MAX_BODY_BYTES, dead_letters_of

_log = structlog.get_logger(__name__)

# Header that tells why a message became a dead letter.
REASON: Final = "x-prestager-reason"
# Header of a message that we publish again for its publisher: the user that RabbitMQ vouched for then, empty for none.
PUBLISHED_BY: Final = "x-prestager-published-by"
_TEXT_LENGTH: Final = 255


def publisher_of(properties: pika.BasicProperties, own_user: str) -> str:
    """Return the user that published a message first, as RabbitMQ vouches for it; empty when it does for none.

    The header is believed only of what our own user published: a message that was put back after it was a dead letter.
    """
    user = properties.user_id or ""
    if user != own_user:
        return user
    headers = properties.headers or {}
    return str(headers[PUBLISHED_BY]) if PUBLISHED_BY in headers else user


def turn_away(publisher: Publisher, queue: str, properties: pika.BasicProperties, body: bytes, reason: str) -> None:
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
