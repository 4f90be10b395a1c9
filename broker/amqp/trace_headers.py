"""The AMQP header `traceparent` of a message (W3C), and the span of its publishing."""

from __future__ import annotations

from typing import Final

import pika

from tracing.tracer import Kind, Span, Tracer, parse_traceparent

_HEADER: Final = "traceparent"


def trace_header(traceparent: str | None) -> dict[str, str]:
    """Return the headers of a message that belongs there; none when it is not traced."""
    return {} if traceparent is None else {_HEADER: traceparent}


def header_trace(properties: pika.BasicProperties, tracer: Tracer) -> str | None:
    """Return where a message belongs; None when it does not say so in good form, or nothing is traced."""
    headers = properties.headers
    return parse_traceparent(headers.get(_HEADER)) if tracer.is_on and isinstance(headers, dict) else None


def publishing(tracer: Tracer, destination: str, parent: str | None) -> Span:
    """Begin the span of a publish; it ends when the broker has confirmed."""
    attributes = {"messaging.system": "rabbitmq", "messaging.destination.name": destination}
    return tracer.begin(f"publish {destination}", parent=parent, kind=Kind.PRODUCER, attributes=attributes)
