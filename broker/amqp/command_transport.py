"""Commands from the API to the coordinator over RabbitMQ, and their answers: direct reply-to, bounded waits."""

from __future__ import annotations

import asyncio
from time import monotonic
from uuid import uuid4

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError
from pydantic import ValidationError

from broker.amqp.cloudevents import from_command
from broker.amqp.connection import BROKEN, PUBLISH_S, BrokerConnection, is_cancelled, user_of
from broker.amqp.errors import BlockedError
from broker.amqp.publisher import publish_span, trace_header
from broker.amqp.topology import DIRECT_REPLY
from messages.commands import Answer, Command
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
