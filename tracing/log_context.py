"""What every log line of a piece of work says: the ids of what it is about, and where it is in a trace.

The names are the same everywhere: strategy, step, subcloud, phase, attempt, run, command, request, trace, span.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from tracing.traceparent import span_of, trace_of
from tracing.tracer import current


@contextmanager
def about(**ids: str | int) -> Iterator[None]:
    """Have every line of the block say these ids; afterwards everything is as before.

    For this thread or task alone: what goes on elsewhere is told the ids there.
    """
    # A third of the cost of structlog's own context manager, which looks at all that is bound.
    tokens = structlog.contextvars.bind_contextvars(**ids)
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**tokens)


def add_trace(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say where a line is in a trace, as a processor of structlog; a line may name another trace by itself."""
    here = current()
    if here is not None and "trace" not in line:
        line["trace"] = trace_of(here)
        line["span"] = span_of(here)
    return line
