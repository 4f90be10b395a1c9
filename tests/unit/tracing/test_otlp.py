"""The tracer over OpenTelemetry's library, without a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from service.errors import StartError
from service.settings import Settings
from service.startup_checks import start_faults
from service.wiring import build
from tracing.otlp import OtlpTracer, _QuietExporter
from tracing.tracer import active_traceparent, is_sampled, span_of, trace_of

HERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = HERE[:-1] + "0"


class Kept(SpanExporter):
    """Keeps spans, or fails."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.result = SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return self.result


def tracer(kept: Kept, ratio: float = 1.0) -> OtlpTracer:
    """Return a tracer that sends there."""
    return OtlpTracer(kept, ratio=ratio, resource={"service.name": "prestager", "service.version": "1"})


class TestOtlpTracer:
    def test_a_reserved_span_is_told_with_its_ids(self) -> None:
        """Children may be told before it, by others; failures and links are told with it."""
        kept = Kept()
        traces = tracer(kept)
        own = traces.reserve()
        assert own is not None
        with traces.begin("child", parent=own):
            assert own[3:35] == trace_of(active_traceparent() or "")
        traces.record("root", parent=None, own=own, link=HERE, began_epoch=10.0, ended_epoch=9.0, failure="broken")
        traces.stop()

        child, root = kept.spans
        assert root.context is not None
        assert (trace_of(own), span_of(own)) == (f"{root.context.trace_id:032x}", f"{root.context.span_id:016x}")
        assert child.parent is not None
        assert root.context.span_id == child.parent.span_id
        assert root.parent is None
        assert [trace_of(HERE)] == [f"{link.context.trace_id:032x}" for link in root.links]
        assert ("broken", 10_000_000_000, 10_000_000_000) == (root.status.description, root.start_time, root.end_time)
        assert active_traceparent() is None

    def test_what_is_not_recorded_is_told_nowhere(self) -> None:
        """A trace that somebody left out stays out, a link to it too, and what is drawn is kept to by all processes."""
        kept, never = Kept(), tracer(Kept(), ratio=0.0)
        traces = tracer(kept)
        below = traces.reserve(UNSAMPLED)
        assert below is not None
        with traces.begin("a", parent=UNSAMPLED) as span:
            assert not is_sampled(span.traceparent or "")
        traces.record("b", parent=UNSAMPLED, own=below, began_epoch=1.0)
        traces.record("c", parent=None, own=traces.reserve(), link=UNSAMPLED, began_epoch=1.0)
        unwanted, wanted = never.reserve(), traces.reserve()
        traces.record("d", parent=None, own=unwanted, began_epoch=1.0)
        traces.stop()
        never.stop()

        assert wanted is not None
        assert is_sampled(wanted)
        assert ["c"] == [span.name for span in kept.spans]
        assert not kept.spans[0].links

    def test_an_exception_is_told_by_its_type_only(self) -> None:
        """Its text may hold what nobody shall see."""
        kept = Kept()
        traces = tracer(kept)
        with pytest.raises(ValueError, match="hush"), traces.begin("a"):
            raise ValueError("hush")
        traces.stop()
        traces.stop()

        assert "hush" not in kept.spans[0].to_json()
        assert "ValueError" == kept.spans[0].status.description


def test_a_collector_that_is_away_is_one_line() -> None:
    """And so is its return, with the number of spans that were lost."""
    kept = Kept()
    kept.result = SpanExportResult.FAILURE
    quiet = _QuietExporter(kept)
    span = tracer(Kept()).begin("a")._span
    assert isinstance(span, ReadableSpan)
    with capture_logs() as lines:
        quiet.export([span])
        quiet.export([span, span])
        kept.result = SpanExportResult.SUCCESS
        quiet.export([span])
        quiet.export([span])

    assert ["traces.not-sent", "traces.sent-again"] == [line["event"] for line in lines]
    assert 3 == lines[1]["lost_spans"]


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the settings tells it, and so does a start."""
    monkeypatch.setitem(sys.modules, "tracing.otlp", None)
    monkeypatch.setattr("tracing.collector.find_spec", lambda _: None)
    settings = Settings(data_dir=tmp_path, release="23.09", tracing="otlp")

    (fault,) = start_faults(settings)
    assert "pip install 'prestager[tracing]'" in fault
    assert "PRESTAGER_TRACING=off" in fault
    with pytest.raises(StartError, match="bin/setup tracing"):
        build(settings)
