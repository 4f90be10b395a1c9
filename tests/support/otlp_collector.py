"""A collector of traces in the test's process: takes what the real exporter sends over OTLP/HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ERROR = 2


@dataclass(frozen=True, kw_only=True)
class Received:
    """One span as it arrived; ids are hexadecimal."""

    name: str
    trace: str
    id: str
    # Empty: the root.
    parent: str
    # Traces that it is linked to.
    links: tuple[str, ...]
    attributes: Mapping[str, Any]
    failure: str | None
    began_at: float
    ended_at: float
    # The role of the process that sent it.
    role: str


class Collector:
    """Listens from `with` to its end; answers with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests: list[Mapping[str, str]] = []
        self.raw = b""
        self._spans: list[Received] = []
        self._lock = Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with collector._lock:
                    collector.requests.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
                    collector.raw += body
                    if collector.status == 200:
                        collector._spans += _spans(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Listen."""
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def spans(self) -> list[Received]:
        """Return what has arrived so far, by the time that it began."""
        with self._lock:
            return sorted(self._spans, key=lambda span: span.began_at)

    def named(self, name: str) -> list[Received]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def trace(self, trace: str) -> dict[str, Received]:
        """Return the spans of a trace by their names."""
        return {span.name: span for span in self.spans if span.trace == trace}


def _spans(body: bytes) -> list[Received]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Received(
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            links=tuple(link.trace_id.hex() for link in span.links),
            attributes=_values(span.attributes),
            failure=span.status.message if span.status.code == ERROR else None,
            began_at=span.start_time_unix_nano / 1e9,
            ended_at=span.end_time_unix_nano / 1e9,
            role=_values(resource.resource.attributes).get("prestager.role", ""),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
