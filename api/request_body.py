"""Reading request bodies: bounded in size and time, JSON with one leniency (contract 2.4)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from api.context import SERVICES
from api.errors import ApiError, body_required, malformed
from messages.limits import check_json

# From this size on a body is parsed in a thread; smaller ones take well under a millisecond.
_LARGE_BYTES: Final = 16 * 1024
# A whole string, closed or not, which is kept; or a continued line, which is dropped.
# An open string runs to the end of the text, else each of its quotes would be searched to the end again.
_STRING_OR_CONTINUATION: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|(\\\r?\n)', re.DOTALL)


async def read_object(request: web.Request, *, empty_allowed: bool = False) -> dict[str, Any]:
    """Return the JSON object of the body, whatever its Content-Type says (curl says form-urlencoded).

    Raises:
        ApiError: 400 for no body, an empty object (unless allowed) or anything that is no JSON object; 408; 413.
    """
    body = await _read(request, request.app[SERVICES].limits.json_bytes)
    if not body.strip():
        raise malformed() if empty_allowed else body_required()
    try:
        value = parse_object(body) if len(body) < _LARGE_BYTES else await asyncio.to_thread(parse_object, body)
    except (ValueError, RecursionError):
        # Without its cause: the message of a JSON error holds the whole body.
        raise malformed() from None
    if not value and not empty_allowed:
        raise body_required()
    return value


def parse_object(body: bytes) -> dict[str, Any]:
    r"""Return a JSON object; of a repeated key the last counts.

    A backslash at the end of a line outside of a string is dropped: shells keep it inside single quotes.

    Raises:
        ValueError: It is not UTF-8, not JSON, no object, holds NaN or Infinity, or what cannot be stored.
        RecursionError: It is nested absurdly deeply.
    """
    text = body.decode()
    if "\\\n" in text or "\\\r\n" in text:
        text = _STRING_OR_CONTINUATION.sub(lambda match: "" if match[1] else match[0], text)
    # NaN and Infinity, which Python's parser accepts, and numbers beyond a float are found by the check.
    value = json.loads(text)
    if not isinstance(value, dict):
        # An exception's message may reach a log, so none of these repeats what was sent.
        raise ValueError("not an object")  # noqa: TRY004 - all that is wrong with a body is a ValueError
    check_json(value)
    return value


@asynccontextmanager
async def body_deadline(request: web.Request) -> AsyncIterator[None]:
    """Bound the reading of a body, and turn its failures into answers.

    Raises:
        ApiError: 408 when the body takes too long, 400 when it cannot be read or its sender left.
    """
    try:
        async with asyncio.timeout(request.app[SERVICES].limits.body_s):
            yield
    except TimeoutError:
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
    except (RequestPayloadError, HttpProcessingError, ConnectionError, ValueError):
        raise malformed() from None


def refuse_early(request: web.Request, limit_bytes: int) -> None:
    """Refuse a body that says itself that it is too large.

    Raises:
        ApiError: 413.
    """
    if (request.content_length or 0) > limit_bytes:
        raise too_large(limit_bytes)


def too_large(limit_bytes: int) -> ApiError:
    """Return the error of a body, or a part of it, over its limit."""
    return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The limit is {limit_bytes} bytes.")


async def _read(request: web.Request, limit_bytes: int) -> bytes:
    refuse_early(request, limit_bytes)
    body = bytearray()
    async with body_deadline(request):
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > limit_bytes:
                raise too_large(limit_bytes)
    return bytes(body)
