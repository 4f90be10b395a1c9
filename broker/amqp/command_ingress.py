"""Read commands from RabbitMQ, answer them in order, and turn malformed ones away with a reason."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import pika
import structlog
from dramatiq import Message
from pika.spec import Basic

from broker.amqp.cloudevents import to_command
from broker.amqp.dead_letters import keep_dead_letter, publisher_of
from broker.amqp.errors import MalformedCommandError, PublishError
from broker.amqp.publisher import Outgoing, Publisher, read_trace_header, trace_header
from broker.amqp.topology import DIRECT_REPLY, REPLIES, is_direct_reply, is_reply_queue_of
from messages.commands import Answer, Command, ReplyAddress
from messages.queues import COMMANDS
from tracing.tracer import NULL_TRACER, Tracer

_log = structlog.get_logger(__name__)

_NOT_YOURS: Final = (
    f"reply_to is none of yours: use {DIRECT_REPLY}, or with the property user_id a queue {REPLIES}.<user>.<name>"
)


class CommandIngress:
    """Reads the commands queue for one process; `own_source` is the CloudEvents source of our own API.

    A message is our API's only when RabbitMQ vouches that our own user published it: any other publisher
    that names its source could act in the name of any user.
    """

    def __init__(self, publisher: Publisher, own_source: str, tracer: Tracer = NULL_TRACER) -> None:
        self._publisher = publisher
        self._tracer = tracer
        self._own_source = own_source

    def read(self, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes) -> Message[Any] | None:
        """Return the message for the coordinator's actor; None for a command that was turned away.

        Raises:
            PublishError: It could not be turned away; it stays in the queue.
        """
        user, reply_to = publisher_of(properties, self._publisher.user), None
        try:
            reply_to = _reply_address(properties.reply_to, user)
            command = to_command(body, self._own_source, is_ours=user == self._publisher.user, user=user)
            _check_key(method, command)
        except MalformedCommandError as error:
            keep_dead_letter(self._publisher, COMMANDS, properties, body, str(error))
            answer = Answer(status=HTTPStatus.BAD_REQUEST, detail=str(error))
            self.reply(ReplyAddress(command_id="", queue=reply_to, mark=properties.correlation_id), answer)
            return None
        # The header has the span of the publish, the CloudEvent that of its origin.
        trace = read_trace_header(properties, self._tracer) or command.traceparent if self._tracer.is_on else None
        return Message(
            queue_name=COMMANDS,
            actor_name="execute_command",
            args=(
                {**command.model_dump(mode="json"), "traceparent": trace},
                reply_to or "",
                properties.correlation_id,
            ),
            kwargs={},
            options={},
        )

    def reply(self, address: ReplyAddress, answer: Answer) -> None:
        """Answer a command; does nothing when the requester is gone or never wanted an answer."""
        if not address.queue:
            return
        try:
            self._publisher.publish(
                [
                    Outgoing(
                        exchange="",
                        routing_key=address.queue,
                        body=answer.model_dump_json().encode(),
                        message_id=address.command_id,
                        type="answer",
                        correlation_id=address.mark,
                        headers=trace_header(address.traceparent),
                        mandatory=False,
                    )
                ]
            )
        except PublishError as error:
            # The answer is stored: the same command gets it again.
            _log.warning("answer.undelivered", fault=str(error))


def _reply_address(address: str | None, user: str) -> str | None:
    """Return where the answer goes, None for nowhere.

    Raises:
        MalformedCommandError: It is not the publisher's own: an answer would be put into a foreign queue.
    """
    if not address:
        return None
    if is_direct_reply(address) or is_reply_queue_of(user, address):
        return address
    raise MalformedCommandError(_NOT_YOURS)


def _check_key(method: Basic.Deliver, command: Command) -> None:
    """Refuse a command under another's routing key: RabbitMQ's topic permissions are by key."""
    # By the default exchange comes only what an operator put back.
    if method.exchange and method.routing_key != command.type:
        raise MalformedCommandError(f"the routing key is not that of the type: {command.type}")
