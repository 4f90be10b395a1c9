"""Tracing interface of the service: spans, traceparents, and the ids of log lines.

A traceparent is the W3C trace context in one text of 55 characters: the trace, the span in it, and whether it is
recorded. It travels as a header of HTTP and AMQP, as an attribute of CloudEvents, in rows of the database, and in the
environment of a playbook. `NullTracer` takes the tracer's place when traces are off: it stores nothing and costs next
to nothing.

Names of ids in log lines are the same everywhere: strategy, step, subcloud, phase, attempt, run, command, request,
trace, span.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from enum import Enum, auto
from types import TracebackType
from typing import Any, Final, Protocol, Self

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION: Final = "ff"
_SAMPLED: Final = 1

Attributes = Mapping[str, str | int | float | bool]


class Kind(Enum):
    """Kind of a span, as in OpenTelemetry."""

    # Work within one process.
    INTERNAL = auto()
    # A request that is answered.
    SERVER = auto()
    # A message that leaves.
    PRODUCER = auto()
    # A message that was taken.
    CONSUMER = auto()


class Span(Protocol):
    """A piece of work that takes time. As a context manager it is the active span of the block, and ends with it."""

    @property
    def traceparent(self) -> str | None:
        """Its ids, the parent of spans within it; None when nothing is traced."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Keep facts about it; never a secret."""

    def fail(self, reason: str) -> None:
        """Mark it as failed, for a reason that holds no secret."""

    def end(self) -> None:
        """End it now. Repeating it does nothing."""

    def __enter__(self) -> Self:
        """Make it the active span."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it; after an exception as a failure, of which only the type is kept."""


class Tracer(Protocol):
    """Begins and records spans."""

    @property
    def is_on(self) -> bool:
        """Return whether anything is traced."""

    def begin(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: Kind = Kind.INTERNAL,
        attributes: Attributes | None = None,
        began_epoch: float | None = None,
    ) -> Span:
        """Begin a span below `parent`, or a new trace without one."""

    def record(  # noqa: PLR0913 - the facts of a span
        self,
        name: str,
        *,
        parent: str | None,
        began_epoch: float,
        ended_epoch: float | None = None,
        own: str | None = None,
        link: str | None = None,
        attributes: Attributes | None = None,
        failure: str | None = None,
    ) -> None:
        """Record a span that is over.

        `own` are the ids that `reserve` gave it; `link` is a span of another trace.
        """

    def reserve(self, parent: str | None = None) -> str | None:
        """Return the ids of a span that is recorded later, below `parent` or as a root; None when nothing is traced."""

    def stop(self) -> None:
        """Send collected spans, within two seconds. Repeating it does nothing."""


class _NullSpan:
    """The span of a tracer that traces nothing."""

    traceparent: Final = None

    def set_attributes(self, attributes: Attributes) -> None:
        """Do nothing."""

    def fail(self, reason: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing."""


NULL_SPAN: Final[Span] = _NullSpan()


class NullTracer:
    """A tracer that traces nothing."""

    is_on: Final = False

    def begin(self, name: str, **facts: object) -> Span:
        """Return the null span."""
        del name, facts
        return NULL_SPAN

    def record(self, name: str, **facts: object) -> None:
        """Do nothing."""

    def reserve(self, parent: str | None = None) -> None:
        """Return None."""

    def stop(self) -> None:
        """Do nothing."""


NULL_TRACER: Final[Tracer] = NullTracer()

# Traceparent of the active span. Set by spans and log contexts, read by `active_traceparent`.
ACTIVE: Final[ContextVar[str | None]] = ContextVar("prestager_traceparent", default=None)


def active_traceparent() -> str | None:
    """Return the traceparent of the active span of this thread or task; None outside of a span."""
    return ACTIVE.get()


def parse_traceparent(text: object) -> str | None:
    """Return a traceparent of foreign origin in version 00; None when it is malformed.

    A later version may have more at its end, which is left out, as the specification says.
    """
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == _INVALID_VERSION or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return f"00-{trace}-{span}-{int(flags, 16) & _SAMPLED:02x}"


def compose(trace: int, span: int, *, sampled: bool) -> str:
    """Return the traceparent of these ids."""
    return f"00-{trace:032x}-{span:016x}-{int(sampled):02x}"


def trace_of(traceparent: str) -> str:
    """Return the id of the trace, 32 hexadecimal digits."""
    return traceparent[3:35]


def span_of(traceparent: str) -> str:
    """Return the id of the span, 16 hexadecimal digits."""
    return traceparent[36:52]


def is_sampled(traceparent: str) -> bool:
    """Return whether the trace is recorded."""
    return traceparent.endswith("1")


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
