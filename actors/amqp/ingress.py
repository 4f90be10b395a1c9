"""Commands from RabbitMQ: read, answered in order, and turned away with a reason when they are none."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pika
import structlog
from dramatiq import Message

from actors.amqp.cloudevents import MalformedCommandError, to_command
from actors.amqp.dead_letters import turn_away
from actors.amqp.publisher import Outgoing, Publisher, PublishError
from actors.declare import ReplyAddress
from messages.commands import Answer
from messages.queues import COMMANDS

_log = structlog.get_logger(__name__)


class Ingress:
    """Reads the commands queue for one process; `own_source` is the CloudEvents source of our own API."""

    def __init__(self, publisher: Publisher, own_source: str) -> None:
        self._publisher = publisher
        self._own_source = own_source

    def read(self, properties: pika.BasicProperties, body: bytes) -> Message[Any] | None:
        """Return the message for the coordinator's actor; None for a command that was turned away.

        Raises:
            PublishError: It could not be turned away; it stays in the queue.
        """
        try:
            command = to_command(body, self._own_source)
        except MalformedCommandError as error:
            turn_away(self._publisher, COMMANDS, properties, body, str(error))
            answer = Answer(status=HTTPStatus.BAD_REQUEST, detail=str(error))
            self.reply(ReplyAddress(command_id="", queue=properties.reply_to, mark=properties.correlation_id), answer)
            return None
        return Message(
            queue_name=COMMANDS,
            actor_name="execute_command",
            args=(command.model_dump(mode="json"), properties.reply_to or "", properties.correlation_id),
            kwargs={},
            options={},
        )

    def reply(self, address: ReplyAddress, answer: Answer) -> None:
        """Answer a command; a requester that is gone, or never wanted an answer, is nobody's trouble."""
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
                        mandatory=False,
                    )
                ]
            )
        except PublishError as error:
            # The answer is stored: the same command gets it again.
            _log.warning("answer.undelivered", fault=str(error))
