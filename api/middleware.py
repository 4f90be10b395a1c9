"""The outermost handlers of every request: one access line, and one error page for whatever went wrong."""

from __future__ import annotations

import traceback
from http import HTTPStatus
from secrets import token_hex
from time import perf_counter
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from api.context import CALLER, COMMAND, SERVICES
from api.error_page import error_page
from api.errors import RETRY_AFTER, ApiError
from api.tracing import PROBES, route_of
from db.unavailable import DatabaseUnavailableError
from messages.not_served import not_served_path
from tracing.log_context import LogContext

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
    meters = request.app[SERVICES].meters
    if meters is not None:
        meters.request_answered(request.method, route_of(request), status, took_s)
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
    """Turn every exception into an error page."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_page(request, error.status, error.detail, error.headers)
    except web.HTTPException as error:
        # Of aiohttp itself: an unknown path, a wrong method, too large a body.
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return error_page(request, error.status, _about_path(request, error), allow)
    except DatabaseUnavailableError as error:
        _log.warning("request.database-unavailable", reason=error.reason)
        return error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, "The database is not available.", RETRY_AFTER)
    except Exception as error:  # noqa: BLE001 - the one broad catch of the API: logged once, answered without details
        _log_failure(request, error)
        return error_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, "", {})


def _about_path(request: web.Request, error: web.HTTPException) -> str:
    """Return what is wrong with the path or the method, and what there is instead; empty for any other error."""
    if error.status == HTTPStatus.NOT_FOUND:
        return not_served_path(request.path) or _NO_PATH
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"This path takes {', '.join(sorted(error.allowed_methods))}."
    return ""


def _log_failure(request: web.Request, error: Exception) -> None:
    # Formatted here, for a log that shows the variables of each frame would show passwords.
    text = "".join(traceback.format_exception(error))
    _log.error("request failed", method=request.method, path=request.rel_url.raw_path, exception=text)
