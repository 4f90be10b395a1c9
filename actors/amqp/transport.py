"""How the API brings commands to the coordinator over RabbitMQ and gets the answers: direct reply-to, bounded waits."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

import structlog
from aio_pika import DeliveryMode, Message, connect
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, DeliveryError
from pydantic import ValidationError

from actors.amqp.cloudevents import CONTENT_TYPE, from_command
from actors.amqp.publisher import PUBLISH_S, is_cancelled
from actors.declare import COMMANDS
from messages.commands import Answer, Command, NoAnswerInTimeError, TransportUnavailableError

_log = structlog.get_logger(__name__)

_REPLY_TO: Final = "amq.rabbitmq.reply-to"


class AmqpTransport:
    """Carries commands over one connection of the running event loop; see `messages.commands.CommandTransport`.

    `timeout_s` is how long an answer is waited for, and how long the command may wait in the queue: one that expired
    there never runs. `source` is the CloudEvents source of our API; `name` is what RabbitMQ shows of the connection.
    """

    def __init__(self, url: str, *, name: str, source: str, timeout_s: float) -> None:
        self._url = url
        self._name = name
        self._source = source
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[str, list[asyncio.Future[Answer]]] = {}

    async def request(self, command: Command) -> Answer:
        """Return the coordinator's answer.

        Raises:
            TransportUnavailableError: The command certainly did not reach the broker.
            NoAnswerInTimeError: No answer came in time, or the broker did not confirm the command within 5 s: bytes
                that left may still arrive, and the command be carried out.
        """
        began = monotonic()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(command.id, []).append(future)
        try:
            await self._hand_over(command)
            async with asyncio.timeout(max(0.0, self._timeout_s - (monotonic() - began))):
                return await future
        except TimeoutError as error:
            raise NoAnswerInTimeError from error
        finally:
            self._forget(command.id, future)

    async def _hand_over(self, command: Command) -> None:
        has_left = False
        try:
            async with asyncio.timeout(PUBLISH_S):
                exchange = await self._open()
                has_left = True
                await exchange.publish(self._message(command), routing_key=command.type, mandatory=True)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise (NoAnswerInTimeError if has_left else TransportUnavailableError) from None
        except DeliveryError as error:
            # Refused or unroutable: certainly not carried out.
            raise TransportUnavailableError from error
        except (TimeoutError, AMQPError, OSError, RuntimeError) as error:
            await self._drop()
            raise (NoAnswerInTimeError if has_left else TransportUnavailableError) from error

    def _message(self, command: Command) -> Message:
        return Message(
            from_command(command, self._source),
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=command.id,
            correlation_id=command.id,
            reply_to=_REPLY_TO,
            type=command.type,
            app_id="prestager",
            timestamp=command.created_at,
            expiration=self._timeout_s,
        )

    async def _open(self) -> AbstractExchange:
        async with self._connecting:
            if self._exchange is None or self._channel is None or self._channel.is_closed:
                await self._drop()
                self._connection = await connect(
                    self._url, timeout=PUBLISH_S, client_properties={"connection_name": self._name}
                )
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                replies = await self._channel.get_queue(_REPLY_TO, ensure=False)
                await replies.consume(self._take_answer, no_ack=True)
                self._exchange = await self._channel.get_exchange(COMMANDS, ensure=False)
            return self._exchange

    async def _take_answer(self, message: AbstractIncomingMessage) -> None:
        try:
            answer = Answer.model_validate_json(message.body)
        except ValidationError:
            _log.warning("answer.unreadable", command=message.correlation_id)
            return
        for future in self._waiting.get(message.correlation_id or "", []):
            if not future.done():
                future.set_result(answer)

    def _forget(self, command_id: str, future: asyncio.Future[Answer]) -> None:
        left = [one for one in self._waiting.pop(command_id, []) if one is not future]
        if left:
            self._waiting[command_id] = left

    async def is_connected(self) -> bool:
        """Tell whether the broker answers now, within 5 s."""
        try:
            async with asyncio.timeout(PUBLISH_S):
                await self._open()
        except (TimeoutError, AMQPError, OSError, RuntimeError):
            await self._drop()
            return False
        return True

    async def close(self) -> None:
        """Close the connection. Repeating it does nothing."""
        await self._drop()

    async def _drop(self) -> None:
        """Forget a connection that may be broken; its closing must not wait for an answer that never comes."""
        connection, self._connection, self._channel, self._exchange = self._connection, None, None, None
        if connection is not None and not connection.is_closed:
            try:
                async with asyncio.timeout(0.3):
                    await connection.close()
            except (TimeoutError, AMQPError, OSError, RuntimeError):
                _log.debug("amqp.dropped")
