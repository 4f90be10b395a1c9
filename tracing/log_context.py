"""Ids that all log lines of a piece of work carry, and its place in a trace.

The names are the same everywhere: strategy, step, subcloud, phase, attempt, run, command, request, trace, span.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final

from tracing.traceparent import span_of, trace_of
from tracing.tracer import HERE, current

# One variable for all ids: binding six of structlog's, one each, took 14 µs twice for each run, 1 % of a phase.
_ids: Final[ContextVar[Mapping[str, str | int]]] = ContextVar("prestager_log_ids")
_NONE: Final[Mapping[str, str | int]] = {}


class about:  # noqa: N801 - read as a verb: with about(ids)
    """Have every line of a block say these ids, and be within a span if one is given; afterwards all is as before.

    For this thread or task alone: what goes on elsewhere is told the ids there.
    """

    # Twice for each run: a generator would take three times as long.
    __slots__ = ("_here_before", "_ids", "_ids_before", "_traceparent")

    def __init__(self, ids: Mapping[str, str | int], traceparent: str | None = None) -> None:
        self._ids = ids
        self._traceparent = traceparent

    def __enter__(self) -> None:
        """Begin."""
        outer = _ids.get(_NONE)
        self._ids_before = _ids.set({**outer, **self._ids} if outer else self._ids)
        self._here_before = None if self._traceparent is None else HERE.set(self._traceparent)

    def __exit__(self, *_: object) -> None:
        """End."""
        _ids.reset(self._ids_before)
        if self._here_before is not None:
            HERE.reset(self._here_before)


def add_context(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say what a line is about and where it is in a trace, as a processor of structlog; what it says itself counts."""
    for name, value in _ids.get(_NONE).items():
        line.setdefault(name, value)
    here = current()
    # A line about another trace is not in this span.
    if here is not None and "trace" not in line:
        line["trace"] = trace_of(here)
        line["span"] = span_of(here)
    return line
