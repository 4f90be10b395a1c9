"""Hints to workers: each one alive has a queue of its own at the control exchange, and answers each hint.

A hint is lost when its worker is away; nothing is stored, and nothing depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from secrets import token_hex
from time import monotonic
from typing import Final, Literal
from uuid import uuid4

import pika
import structlog
from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError
from pydantic import BaseModel, ConfigDict, ValidationError

from broker.amqp.connection import short_connection
from broker.amqp.errors import ControlError
from broker.amqp.publisher import Outgoing
from broker.amqp.topology import CONTROL, DIRECT_REPLY, is_direct_reply

_log = structlog.get_logger(__name__)

# How long workers are given to answer, in seconds.
_ANSWERS_S: Final = 2.0
_TIMEOUT_S: Final = 10
_CONTENT_TYPE: Final = "application/json"
_APP_ID: Final = "prestager"


HintKind = Literal["drain", "undrain", "cancel"]


class Hint(BaseModel):
    """A request to one worker or to all."""

    model_config = ConfigDict(extra="forbid")

    # drain: take no more runs, and finish those that are being worked on; undrain: take runs again; cancel: runs of
    # this worker may be marked in the database as to be cancelled.
    kind: HintKind
    # Name of the worker that is meant; None for all.
    worker: str | None = None


class HintAnswer(BaseModel):
    """Answer of one worker to a hint."""

    worker: str
    # Runs that it works on now.
    running: int


class HintListener:
    """Takes hints for one worker; `obey` carries out a hint of this kind and returns how many runs it works on."""

    def __init__(self, worker: str, obey: Callable[[HintKind], int]) -> None:
        self._worker = worker
        self._obey = obey

    async def listen(self, channel: AbstractChannel) -> None:
        """Take hints by a new channel, until it closes."""
        exchange = await channel.declare_exchange(CONTROL, ExchangeType.FANOUT, durable=True)
        # A new name each time: the queue of a connection that broke may live on for a moment.
        queue = await channel.declare_queue(f"{CONTROL}.{self._worker}.{token_hex(4)}", exclusive=True)
        await queue.bind(exchange)

        async def take(message: AbstractIncomingMessage) -> None:
            await self._take(channel, message)

        await queue.consume(take, no_ack=True)

    async def _take(self, channel: AbstractChannel, message: AbstractIncomingMessage) -> None:
        try:
            hint = Hint.model_validate_json(message.body)
        except ValidationError:
            _log.warning("control.unreadable")
            return
        if hint.worker not in (None, self._worker):
            return
        answer = HintAnswer(worker=self._worker, running=self._obey(hint.kind))
        if hint.kind != "cancel":
            _log.info("worker.draining" if hint.kind == "drain" else "worker.undrained", running=answer.running)
        # Any other address could be a foreign queue.
        if message.reply_to and is_direct_reply(message.reply_to):
            body = Message(
                answer.model_dump_json().encode(),
                content_type=_CONTENT_TYPE,
                message_id=str(uuid4()),
                type=f"control.{hint.kind}.answer",
                app_id=_APP_ID,
                timestamp=datetime.now(UTC),
            )
            await channel.default_exchange.publish(body, message.reply_to, mandatory=False)


def outgoing_hint(hint: Hint) -> Outgoing:
    """Return the message of a hint that no answer is waited for; it is lost on workers that are away."""
    return Outgoing(
        exchange=CONTROL,
        routing_key="",
        body=hint.model_dump_json().encode(),
        message_id=str(uuid4()),
        type=f"control.{hint.kind}",
        mandatory=False,
    )


def ask_workers(url: str, hint: Hint) -> list[HintAnswer]:
    """Give a hint and return the answers, in the order of the workers' names.

    A named worker is waited for two seconds at most; all of them for two seconds, for their number is not known.

    Raises:
        BrokerUnavailableError: The broker is out of reach.
        ControlError: No worker is connected to it.
    """
    with short_connection(url, "prestager control", timeout_s=_TIMEOUT_S) as connection:
        channel = connection.channel()
        try:
            answers = _ask(channel, hint)
        except UnroutableError:
            raise ControlError("no worker is connected to the broker") from None
        # Returns whenever something has come: one answer is not all of them.
        until = monotonic() + _ANSWERS_S
        while (left := until - monotonic()) > 0 and not (hint.worker is not None and answers):
            connection.process_data_events(time_limit=left)
    return sorted(answers, key=lambda answer: answer.worker)


def _ask(channel: BlockingChannel, hint: Hint) -> list[HintAnswer]:
    answers: list[HintAnswer] = []

    def take(*delivery: object) -> None:
        answers.append(HintAnswer.model_validate_json(delivery[3]))  # type: ignore[arg-type]

    channel.confirm_delivery()
    channel.exchange_declare(CONTROL, "fanout", durable=True)
    channel.basic_consume(DIRECT_REPLY, take, auto_ack=True)
    properties = pika.BasicProperties(
        reply_to=DIRECT_REPLY,
        content_type=_CONTENT_TYPE,
        message_id=str(uuid4()),
        type=f"control.{hint.kind}",
        app_id=_APP_ID,
        timestamp=int(datetime.now(UTC).timestamp()),
    )
    channel.basic_publish(CONTROL, "", hint.model_dump_json().encode(), properties, mandatory=True)
    return answers
