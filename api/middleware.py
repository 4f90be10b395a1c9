"""Handlers around every request: its span, one line of the access log, and the answer when it fails."""

from __future__ import annotations

import traceback
from http import HTTPStatus
from secrets import token_hex
from time import perf_counter
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.context import CALLER, COMMAND, SERVICES
from api.error_response import error_response
from api.errors import RETRY_AFTER, ApiError
from db.errors import DatabaseUnavailableError
from messages.dcmanager import not_served_path
from tracing.tracer import Kind, LogContext, Tracer, parse_traceparent

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


async def add_trace_header(request: web.Request, response: web.StreamResponse) -> None:
    """Add the trace context of the request to the response (W3C `traceresponse`); a signal handler of aiohttp."""
    here = request.get(_TRACE)
    if here is not None:
        response.headers["traceresponse"] = here


def route_of(request: web.Request) -> str:
    """Return the template of the path, for its values are as many as callers like; a method may be any word."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


_log = structlog.get_logger(__name__)

# The client went away before its answer; nginx's number for it.
_CLIENT_GONE: Final = 499
_NO_PATH: Final = "There is no such path. GET /docs shows those that there are."


@web.middleware
async def log_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Write one line per request: never a body, a header or a query."""
    started = perf_counter()
    status = _CLIENT_GONE
    with LogContext({"request": token_hex(6)}):
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            _log_answer(request, status, perf_counter() - started)


def _log_answer(request: web.Request, status: int, took_s: float) -> None:
    metrics = request.app[SERVICES].metrics
    if metrics is not None:
        metrics.request_answered(request.method, route_of(request), status, took_s)
    caller, command = request.get(CALLER), request.get(COMMAND)
    write = _log.debug if request.path in PROBES else _log.info
    write(
        "request",
        method=request.method,
        # Percent-encoded, so that no caller writes lines of its own.
        path=request.rel_url.raw_path,
        status=status,
        ms=round(took_s * 1000, 1),
        caller=caller.name if caller else None,
        **({"command": command} if command else {}),
    )


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into an error response."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(request, error.status, error.detail, error.headers)
    except web.HTTPException as error:
        # Of aiohttp itself: an unknown path, a wrong method, too large a body.
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return error_response(request, error.status, _about_path(request, error), allow)
    except DatabaseUnavailableError as error:
        _log.warning("request.database-unavailable", reason=error.reason)
        return error_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "The database is not available.", RETRY_AFTER)
    except Exception as error:  # noqa: BLE001 - the one broad catch of the API: logged once, answered without details
        _log_failure(request, error)
        return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "", {})


def _about_path(request: web.Request, error: web.HTTPException) -> str:
    """Return the sentence for an unknown path or a wrong method, with the alternatives; empty for any other error."""
    if error.status == HTTPStatus.NOT_FOUND:
        return not_served_path(request.path) or _NO_PATH
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"This path takes {', '.join(sorted(error.allowed_methods))}."
    return ""


def _log_failure(request: web.Request, error: Exception) -> None:
    # Formatted here, for a log that shows the variables of each frame would show passwords.
    text = "".join(traceback.format_exception(error))
    _log.error("request failed", method=request.method, path=request.rel_url.raw_path, exception=text)
