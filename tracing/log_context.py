"""Ids that all log lines of a piece of work carry, and its place in a trace.

The names are the same everywhere: strategy, step, subcloud, phase, attempt, run, command, request, trace, span.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final

from tracing.tracer import ACTIVE, active_traceparent, span_of, trace_of

# One variable for all ids: binding six of structlog's, one each, took 14 µs twice for each run, 1 % of a phase.
_ids: Final[ContextVar[Mapping[str, str | int]]] = ContextVar("prestager_log_ids")
_NONE: Final[Mapping[str, str | int]] = {}


class LogContext:
    """Add ids to every log line of a block, and make a span the active one if its traceparent is given.

    For this thread or task alone; afterwards all is as before. Blocks nest, inner ids win.
    """

    # Twice for each run: a generator would take three times as long.
    __slots__ = ("_active_before", "_ids", "_ids_before", "_traceparent")

    def __init__(self, ids: Mapping[str, str | int], traceparent: str | None = None) -> None:
        self._ids = ids
        self._traceparent = traceparent

    def __enter__(self) -> None:
        """Begin."""
        outer = _ids.get(_NONE)
        self._ids_before = _ids.set({**outer, **self._ids} if outer else self._ids)
        self._active_before = None if self._traceparent is None else ACTIVE.set(self._traceparent)

    def __exit__(self, *_: object) -> None:
        """End."""
        _ids.reset(self._ids_before)
        if self._active_before is not None:
            ACTIVE.reset(self._active_before)


def add_context(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add ids, trace and span to a log line, as a processor of structlog; fields that the line has already stay."""
    for name, value in _ids.get(_NONE).items():
        line.setdefault(name, value)
    traceparent = active_traceparent()
    # A line about another trace is not in this span.
    if traceparent is not None and "trace" not in line:
        line["trace"] = trace_of(traceparent)
        line["span"] = span_of(traceparent)
    return line
