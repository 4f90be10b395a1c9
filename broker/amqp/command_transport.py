"""Commands over RabbitMQ and their answers, at both ends.

`AmqpTransport` sends those of the API and waits for answers, for a bounded time and by direct reply-to;
`CommandIngress` reads all of them for the coordinator, and answers malformed ones with a reason.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import dramatiq
import pika
import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError
from pika.spec import Basic
from pydantic import ValidationError

from broker.amqp.cloudevents import from_command, to_command
from broker.amqp.connection import BROKEN, PUBLISH_S, BrokerConnection, is_cancelled, user_of
from broker.amqp.dead_letters import keep_dead_letter, publisher_of
from broker.amqp.errors import BlockedError, MalformedCommandError, PublishError
from broker.amqp.publisher import Outgoing, Publisher, publish_span, read_trace_header, trace_header
from broker.amqp.topology import DIRECT_REPLY, REPLIES, is_direct_reply, is_reply_queue_of
from messages.commands import Answer, Command, ReplyAddress
from messages.errors import NoAnswerInTimeError, TransportUnavailableError
from messages.events import CONTENT_TYPE
from messages.queues import COMMANDS
from tracing.tracer import NULL_TRACER, Tracer

_log = structlog.get_logger(__name__)


class AmqpTransport:
    """Carries commands over one connection of the running event loop; see `messages.commands.CommandTransport`.

    `timeout_s` is how long an answer is waited for, and how long the command may wait in the queue: one that expired
    there never runs. `source` is the CloudEvents source of our API; `name` is the connection's name in RabbitMQ.
    """

    def __init__(self, url: str, *, name: str, source: str, timeout_s: float, tracer: Tracer = NULL_TRACER) -> None:
        self._connection = BrokerConnection(url, name, self._listen)
        self._user = user_of(url)
        self._source = source
        self._timeout_s = timeout_s
        self._tracer = tracer
        # By request and not by command: two requests may use one command id with different content.
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def request(self, command: Command) -> Answer:
        """Return the coordinator's answer.

        Raises:
            TransportUnavailableError: The command certainly did not reach the broker.
            NoAnswerInTimeError: No answer came in time, or the broker did not confirm the command within 5 s: bytes
                that left may still arrive, and the command be carried out.
        """
        began = monotonic()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        request_id = str(uuid4())
        self._waiting[request_id] = future
        try:
            with publish_span(self._tracer, COMMANDS, command.traceparent) as span:
                await self._hand_over(command.model_copy(update={"traceparent": span.traceparent}), request_id)
            async with asyncio.timeout(max(0.0, self._timeout_s - (monotonic() - began))):
                return await future
        except TimeoutError as error:
            raise NoAnswerInTimeError from error
        finally:
            del self._waiting[request_id]

    async def _hand_over(self, command: Command, request_id: str) -> None:
        has_left = False
        try:
            async with asyncio.timeout(PUBLISH_S):
                channel = await self._connection.open()
                exchange = await channel.get_exchange(COMMANDS, ensure=False)
                has_left = True
                await exchange.publish(self._message(command, request_id), routing_key=command.type, mandatory=True)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise (NoAnswerInTimeError if has_left else TransportUnavailableError) from None
        except DeliveryError as error:
            # Refused or unroutable: certainly not carried out.
            raise TransportUnavailableError from error
        except BlockedError as error:
            raise TransportUnavailableError from error
        except BROKEN as error:
            await self._connection.give_up()
            raise (NoAnswerInTimeError if has_left else TransportUnavailableError) from error

    def _message(self, command: Command, request_id: str) -> Message:
        return Message(
            from_command(command, self._source),
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=command.id,
            correlation_id=request_id,
            reply_to=DIRECT_REPLY,
            type=command.type,
            app_id="prestager",
            # RabbitMQ vouches for it: by it the coordinator knows its own API.
            user_id=self._user,
            timestamp=command.created_at,
            expiration=self._timeout_s,
            headers=dict(trace_header(command.traceparent)),
        )

    async def _listen(self, channel: AbstractChannel) -> None:
        replies = await channel.get_queue(DIRECT_REPLY, ensure=False)
        await replies.consume(self._take_answer, no_ack=True)

    async def _take_answer(self, message: AbstractIncomingMessage) -> None:
        try:
            answer = Answer.model_validate_json(message.body)
        except ValidationError:
            _log.warning("answer.unreadable", command=message.message_id)
            return
        future = self._waiting.get(message.correlation_id or "")
        # An answer to a request that was given up is dropped: the repeat has an id of its own.
        if future is not None and not future.done():
            future.set_result(answer)

    async def close(self) -> None:
        """Close the connection. Repeating it does nothing."""
        await self._connection.drop()


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

    def read(
        self, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes
    ) -> dramatiq.Message[Any] | None:
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
        return dramatiq.Message(
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
