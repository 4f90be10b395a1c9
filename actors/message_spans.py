"""Spans of messages to actors: where a message belongs in a trace comes with it, and its work is a span there."""

from __future__ import annotations

from threading import local
from typing import Any, Final

from dramatiq import Broker, Message, MessageProxy, Middleware

from tracing.tracer import Kind, Span, Tracer

# Of a Dramatiq message within one process; over AMQP it is a header, for our envelope has no options.
_OPTION: Final = "traceparent"


def trace_options(traceparent: str | None) -> dict[str, Any]:
    """Return the options of a message that belongs there; none when it is not traced."""
    return {} if traceparent is None else {_OPTION: traceparent}


def in_trace(message: Message[Any], traceparent: str | None) -> Message[Any]:
    """Return the message with its place in a trace."""
    return message if traceparent is None else message.copy(options=trace_options(traceparent))


class MessageSpans(Middleware):
    """Makes a span of the work of each message that belongs to a trace; to be added to a broker where traces are on."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        # A thread works on one message at a time.
        self._working = local()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Begin."""
        del broker
        parent = message.options.get(_OPTION)
        if parent is None:
            return
        span: Span = self._tracer.begin(
            f"process {message.actor_name}",
            parent=parent,
            kind=Kind.CONSUMER,
            attributes={"messaging.destination.name": message.queue_name, "messaging.message.id": message.message_id},
        )
        span.__enter__()
        self._working.span = span

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """End."""
        del broker, message, result
        span: Span | None = getattr(self._working, "span", None)
        if span is not None:
            self._working.span = None
            span.__exit__(type(exception) if exception is not None else None, exception, None)
