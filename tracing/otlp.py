"""Traces by OpenTelemetry, sent to a collector over OTLP/HTTP. Loaded only when traces are on.

Spans are collected in memory, at most so many, and sent by a thread of their own: a collector that is away or slow
costs spans, never time. What our settings do not say, the OTEL_* variables do.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextvars import Token
from threading import Thread, local
from types import TracebackType
from typing import Any, Final, Self

import structlog
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased

from tracing.tracer import ACTIVE, Attributes, Kind, compose, is_sampled, span_of, trace_of

_log = structlog.get_logger(__name__)

_KINDS: Final = {
    Kind.INTERNAL: api.SpanKind.INTERNAL,
    Kind.SERVER: api.SpanKind.SERVER,
    Kind.PRODUCER: api.SpanKind.PRODUCER,
    Kind.CONSUMER: api.SpanKind.CONSUMER,
}
# A stage of some thousand sites is handed out at once, with two spans each; a span takes about 2 kB.
_QUEUE: Final = 16_384
_SEND_EVERY_MS: Final = 2000
_STOP_S: Final = 2.0
# Longest text of an attribute; a failure's sentence has at most a thousand characters.
_ATTRIBUTE_LENGTH: Final = 1000
_NANOSECONDS: Final = 1_000_000_000


class OtlpTracer:
    """Traces by OpenTelemetry's own library; see `tracing.tracer.Tracer`."""

    is_on: Final = True

    def __init__(self, exporter: SpanExporter, *, ratio: float, resource: Mapping[str, str]) -> None:
        self._chosen = _IdGenerator()
        self._sampler = TraceIdRatioBased(ratio)
        self._provider = TracerProvider(
            resource=Resource(dict(resource)).merge(OTELResourceDetector().detect()),
            sampler=_ReservedSampler(self._chosen, ParentBased(self._sampler)),
            id_generator=self._chosen,
            span_limits=SpanLimits(max_attribute_length=_ATTRIBUTE_LENGTH),
            # The process itself says when it ends.
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _QuietExporter(exporter),
                # None: the library looks at the environment.
                max_queue_size=None if "OTEL_BSP_MAX_QUEUE_SIZE" in os.environ else _QUEUE,
                schedule_delay_millis=None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else _SEND_EVERY_MS,
            )
        )
        self._tracer = self._provider.get_tracer("prestager", resource.get("service.version"))
        self._stopped = False

    def begin(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: Kind = Kind.INTERNAL,
        attributes: Attributes | None = None,
        began_epoch: float | None = None,
    ) -> _OtlpSpan:
        """Begin a span below `parent`, or a new trace without one."""
        return _OtlpSpan(
            self._tracer.start_span(
                name,
                _context(parent),
                _KINDS[kind],
                attributes,
                start_time=None if began_epoch is None else int(began_epoch * _NANOSECONDS),
            )
        )

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
        """Record a span that is over."""
        if own is not None and not is_sampled(own):
            return
        links = [api.Link(_span_context(link))] if link is not None and is_sampled(link) else None
        with self._chosen.use(own):
            span = self._tracer.start_span(
                name, _context(parent), attributes=attributes, links=links, start_time=int(began_epoch * _NANOSECONDS)
            )
        if failure is not None:
            span.set_status(api.StatusCode.ERROR, failure)
        # Clocks of two machines may differ.
        span.end(None if ended_epoch is None else int(max(began_epoch, ended_epoch) * _NANOSECONDS))

    def reserve(self, parent: str | None = None) -> str | None:
        """Return the ids of a span that is recorded later."""
        span = self._chosen.generate_span_id()
        if parent is not None:
            return compose(int(trace_of(parent), 16), span, sampled=is_sampled(parent))
        trace = self._chosen.generate_trace_id()
        decision = self._sampler.should_sample(None, trace, "").decision
        return compose(trace, span, sampled=decision is Decision.RECORD_AND_SAMPLE)

    def stop(self) -> None:
        """Send what was collected, within two seconds; a collector that is silent gets no more."""
        if self._stopped:
            return
        self._stopped = True
        # The library waits for half a minute, and a request of it for ten seconds.
        stopping = Thread(target=self._provider.shutdown, name="traces-stop", daemon=True)
        stopping.start()
        stopping.join(_STOP_S)


def open_otlp(
    *, endpoint: str | None, headers: Mapping[str, str], ratio: float, resource: Mapping[str, str]
) -> OtlpTracer:
    """Return a tracer that sends to `endpoint`, the URL for traces; None: where the OTEL_* variables say.

    Nothing connects before there is something to send.
    """
    # Each failed request would be a line or two; `_QuietExporter` says it once.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(_OncePerMessage())
    exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(headers) or None)
    return OtlpTracer(exporter, ratio=ratio, resource=resource)


class _OtlpSpan:
    """A span of OpenTelemetry."""

    def __init__(self, span: api.Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent: str | None = (
            compose(context.trace_id, context.span_id, sampled=context.trace_flags.sampled)
            if context.is_valid
            else None
        )
        self._token: Token[str | None] | None = None
        self._ended = False

    def set_attributes(self, attributes: Attributes) -> None:
        """Keep facts about it."""
        self._span.set_attributes(attributes)

    def fail(self, reason: str) -> None:
        """Mark it as failed."""
        self._span.set_status(api.StatusCode.ERROR, reason)

    def end(self) -> None:
        """End it now."""
        if not self._ended:
            self._ended = True
            self._span.end()

    def __enter__(self) -> Self:
        """Make it the active span."""
        self._token = ACTIVE.set(self.traceparent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        if self._token is not None:
            ACTIVE.reset(self._token)
        if kind is not None:
            # Its text may hold a secret.
            self.fail(kind.__name__)
        self.end()


class _IdGenerator(IdGenerator):
    """Random ids, but for spans whose ids were reserved."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._local = local()

    def use(self, own: str | None) -> _IdGenerator:
        """Give the next span of this thread these ids; as a context manager."""
        self._local.own = own
        return self

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Go back to random ids."""
        self._local.own = None

    @property
    def own(self) -> str | None:
        """Return the traceparent of the span that is begun now, if it has one already."""
        return getattr(self._local, "own", None)

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        own = self.own
        return self._random.generate_span_id() if own is None else int(span_of(own), 16)

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        own = self.own
        return self._random.generate_trace_id() if own is None else int(trace_of(own), 16)


class _ReservedSampler(Sampler):
    """Samples spans that were reserved as sampled; asks another sampler about the rest."""

    def __init__(self, chosen: _IdGenerator, other: Sampler) -> None:
        self._chosen = chosen
        self._other = other

    def should_sample(  # noqa: PLR0913, PLR0917 - the library's own
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: api.SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[api.Link] | None = None,
        trace_state: api.TraceState | None = None,
    ) -> SamplingResult:
        """Decide about a span that begins."""
        if self._chosen.own is not None:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._other.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return its name."""
        return self._other.get_description()


class _QuietExporter(SpanExporter):
    """Logs once that spans cannot be sent, and once that they can be again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - traces never disturb the work
            result = SpanExportResult.FAILURE
            fault = type(error).__name__
        else:
            fault = "the collector did not take them"
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                _log.warning("traces.not-sent", fault=fault, advice="the work goes on; see PRESTAGER_TRACING_ENDPOINT")
            self._lost += len(spans)
        elif self._lost:
            _log.info("traces.sent-again", lost_spans=self._lost)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter holds back."""
        return self._exporter.force_flush(timeout_millis)


class _OncePerMessage(logging.Filter):
    """Passes each message of a library once."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record passes."""
        is_new = str(record.msg) not in self._seen
        self._seen.add(str(record.msg))
        return is_new


def _span_context(traceparent: str) -> api.SpanContext:
    return api.SpanContext(
        int(trace_of(traceparent), 16),
        int(span_of(traceparent), 16),
        is_remote=True,
        trace_flags=api.TraceFlags(int(is_sampled(traceparent))),
    )


def _context(parent: str | None) -> Context:
    """Return the context that a span begins in; never the library's own active one."""
    if parent is None:
        return Context()
    return api.set_span_in_context(api.NonRecordingSpan(_span_context(parent)), Context())
