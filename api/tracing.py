"""Requests as spans: each goes on with the trace that its caller is in, or begins one."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tracing.tracer import Kind, Tracer, parse_traceparent

# Asked every few seconds by machines.
PROBES: Final = frozenset({"/livez", "/readyz", "/startupz"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Names as OpenTelemetry's conventions have them.
_OTHER: Final = "_OTHER"
_SERVER_ERRORS: Final = 500
# A response is prepared after the handlers are done, or for a stream in the midst of them.
_TRACE: Final = web.RequestKey("trace", str)


def trace_requests(tracer: Tracer) -> Middleware:
    """Return the outermost handler of every request."""

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in PROBES:
            return await handler(request)
        # A method may be any word, and a path too: neither makes names of its own.
        method = request.method if request.method in _METHODS else _OTHER
        route = route_of(request)
        span = tracer.begin(
            f"{method} {route}",
            parent=parse_traceparent(request.headers.get("traceparent")),
            kind=Kind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
        )
        if span.traceparent is not None:
            request[_TRACE] = span.traceparent
        with span:
            response = await handler(request)
            span.set_attributes({"http.response.status_code": response.status})
            if response.status >= _SERVER_ERRORS:
                span.fail(f"HTTP {response.status}")
            return response

    return trace


async def tell_trace(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the caller where in which trace the request was (W3C `traceresponse`); a signal handler of aiohttp."""
    here = request.get(_TRACE)
    if here is not None:
        response.headers["traceresponse"] = here


def route_of(request: web.Request) -> str:
    """Return the template of the path, for its values are as many as callers like; a method may be any word."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical
