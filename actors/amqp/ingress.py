"""Commands from RabbitMQ: read, answered in order, and turned away with a reason when they are none."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import pika
import structlog
from dramatiq import Message
from pika.spec import Basic

from actors.amqp.cloudevents import MalformedCommandError, to_command
from actors.amqp.dead_letters import turn_away
from actors.amqp.publisher import Outgoing, Publisher, PublishError
from actors.amqp.trace_headers import header_trace, trace_header
from actors.declare import ReplyAddress
from messages.commands import Answer, Command
from messages.queues import COMMANDS
from tracing.tracer import UNTRACED, Tracer

_log = structlog.get_logger(__name__)

_OUR_QUEUES: Final = "prestager."


class Ingress:
    """Reads the commands queue for one process; `own_source` is the CloudEvents source of our own API.

    A message is our API's only when RabbitMQ vouches that our own user published it: whoever else names its source
    could carry out commands in the name of anybody.
    """

    def __init__(self, publisher: Publisher, own_source: str, tracer: Tracer = UNTRACED) -> None:
        self._publisher = publisher
        self._tracer = tracer
        self._own_source = own_source

    def read(self, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes) -> Message[Any] | None:
        """Return the message for the coordinator's actor; None for a command that was turned away.

        Raises:
            PublishError: It could not be turned away; it stays in the queue.
        """
        try:
            _check_address(properties.reply_to)
            command = to_command(body, self._own_source, is_ours=properties.user_id == self._publisher.user)
            _check_key(method, command)
        except MalformedCommandError as error:
            turn_away(self._publisher, COMMANDS, properties, body, str(error))
            answer = Answer(status=HTTPStatus.BAD_REQUEST, detail=str(error))
            self.reply(ReplyAddress(command_id="", queue=properties.reply_to, mark=properties.correlation_id), answer)
            return None
        # The header tells the way of the message, the CloudEvent where it began.
        trace = header_trace(properties, self._tracer) or command.traceparent if self._tracer.is_on else None
        return Message(
            queue_name=COMMANDS,
            actor_name="execute_command",
            args=(
                {**command.model_dump(mode="json"), "traceparent": trace},
                properties.reply_to or "",
                properties.correlation_id,
            ),
            kwargs={},
            options={},
        )

    def reply(self, address: ReplyAddress, answer: Answer) -> None:
        """Answer a command; a requester that is gone, or never wanted an answer, is nobody's trouble."""
        if not address.queue or address.queue.startswith(_OUR_QUEUES):
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


def _check_address(queue: str | None) -> None:
    if queue is not None and queue.startswith(_OUR_QUEUES):
        raise MalformedCommandError(f"reply_to names a queue of Prestager itself ({_OUR_QUEUES}...)")


def _check_key(method: Basic.Deliver, command: Command) -> None:
    """Refuse a command under another's routing key: RabbitMQ's topic permissions are by key."""
    # By the default exchange comes only what an operator put back.
    if method.exchange and method.routing_key != command.type:
        raise MalformedCommandError(f"the routing key is not that of the type: {command.type}")
