"""Tracing interface of the service: begin a span, read the active one.

Whoever begins a span that goes on elsewhere hands its `traceparent` on. `NullTracer` takes the tracer's place when
traces are off: it stores nothing and costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto
from types import TracebackType
from typing import Final, Protocol, Self

Attributes = Mapping[str, str | int | float | bool]


class Kind(Enum):
    """What a span is to those beside it."""

    # Work within one process.
    INTERNAL = auto()
    # A request that somebody waits for.
    SERVER = auto()
    # A message that leaves.
    PRODUCER = auto()
    # A message that was taken.
    CONSUMER = auto()


class Span(Protocol):
    """Something that takes time. As a context manager it is where one is until the end of the block, and ends there."""

    @property
    def traceparent(self) -> str | None:
        """Where one is within this span; None when nothing is traced."""

    def note(self, attributes: Attributes) -> None:
        """Keep facts about it; never a secret."""

    def fail(self, reason: str) -> None:
        """Have it end as a failure, for a reason that holds no secret."""

    def end(self) -> None:
        """End it now. Repeating it does nothing."""

    def __enter__(self) -> Self:
        """Be within it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave it and end it; after an exception as a failure, of which only the type is told."""


class Tracer(Protocol):
    """Begins spans. Moments are seconds since the epoch."""

    @property
    def is_on(self) -> bool:
        """Tell whether anything is traced."""

    def begin(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: Kind = Kind.INTERNAL,
        attributes: Attributes | None = None,
        began_at: float | None = None,
    ) -> Span:
        """Begin a span below `parent`, or a new trace without one."""

    def tell(  # noqa: PLR0913 - what there is to tell of a span
        self,
        name: str,
        *,
        parent: str | None,
        began_at: float,
        ended_at: float | None = None,
        own: str | None = None,
        link: str | None = None,
        attributes: Attributes | None = None,
        failure: str | None = None,
    ) -> None:
        """Tell of a span that is over, with the ids of `own` if others know it by them, and linked to another trace."""

    def reserve(self, parent: str | None = None) -> str | None:
        """Return the ids of a span to be told later, below `parent` or as the root of a new trace; None: untraced."""

    def stop(self) -> None:
        """Hand on what was collected, within two seconds. Repeating it does nothing."""


class _NoSpan:
    """A span of nothing."""

    traceparent: Final = None

    def note(self, attributes: Attributes) -> None:
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


NO_SPAN: Final[Span] = _NoSpan()


class NullTracer:
    """A tracer that traces nothing."""

    is_on: Final = False

    def begin(self, name: str, **told: object) -> Span:
        """Return the span of nothing."""
        del name, told
        return NO_SPAN

    def tell(self, name: str, **told: object) -> None:
        """Do nothing."""

    def reserve(self, parent: str | None = None) -> None:
        """Return None."""

    def stop(self) -> None:
        """Do nothing."""


NULL_TRACER: Final[Tracer] = NullTracer()

# Set by spans; others ask `current`.
HERE: Final[ContextVar[str | None]] = ContextVar("prestager_traceparent", default=None)


def current() -> str | None:
    """Return the traceparent of the span that this thread or task is within."""
    return HERE.get()


@contextmanager
def within(traceparent: str | None) -> Iterator[None]:
    """Be within a span that somebody else ends; None changes nothing."""
    if traceparent is None:
        yield
        return
    token = HERE.set(traceparent)
    try:
        yield
    finally:
        HERE.reset(token)
