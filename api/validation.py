"""Reading and validation of requests: paths, queries, and JSON bodies bounded in size and time (contract 2.4)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from api.context import SERVICES
from api.errors import ApiError, body_required, malformed
from messages.dcmanager import with_not_served
from messages.errors import RequestError
from messages.limits import TEXT_LENGTH, check_json, is_id, is_storable
from messages.requests.base import (
    Request,
    parse_request,
    reject_unknown,
    taken_names,
    truncate_for_error,
    unknown_text,
)


def not_found(detail: str) -> ApiError:
    """Return the error of a request about a thing that is not there."""
    return ApiError(HTTPStatus.NOT_FOUND, detail)


def subcloud_not_found() -> ApiError:
    """Return the error of an unknown subcloud."""
    return not_found("Subcloud not found")


def group_not_found() -> ApiError:
    """Return the error of an unknown group."""
    return not_found("Subcloud Group not found")


def strategy_not_found(wanted: str | None) -> ApiError:
    """Return the error of a strategy that is not there; `wanted` is the type that was asked for."""
    if wanted is None:
        return not_found("Strategy not found")
    return not_found(with_not_served(f"Strategy of type '{truncate_for_error(wanted)}' not found", wanted))


def step_not_found() -> ApiError:
    """Return the error of an unknown step."""
    return not_found("Strategy step not found")


def webhook_not_found() -> ApiError:
    """Return the error of an unknown webhook."""
    return not_found("Webhook not found")


def path_number(request: web.Request, name: str, otherwise: ApiError) -> int:
    """Return the number in the path at `name`, or raise `otherwise`."""
    text = request.match_info[name]
    if not is_id(text):
        raise otherwise
    return int(text)


def path_ref(request: web.Request, otherwise: ApiError) -> str:
    """Return the name or id in the path, or raise `otherwise`."""
    ref = request.match_info["ref"]
    if len(ref) > TEXT_LENGTH or not is_storable(ref):
        raise otherwise
    return ref


_R = TypeVar("_R", bound=Request)


def validated(model: type[_R], data: Mapping[str, Any], status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> _R:
    """Return `data` as a model.

    Raises:
        ApiError: With `status`, for the first fault in the model's order.
    """
    try:
        return parse_request(model, data)
    except RequestError as fault:
        raise ApiError(status, str(fault)) from None


def refuse_unknown_names(model: type[Request], names: Iterable[str]) -> None:
    """Check that `model` has, or at least knows, the name of every field of a body.

    Raises:
        ApiError: 400, naming the first that is not known and the nearest that is.
    """
    try:
        reject_unknown(model, names)
    except RequestError as fault:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(fault)) from None


async def read_known(request: web.Request, model: type[Request], *, empty_allowed: bool = False) -> dict[str, Any]:
    """Return the JSON object of a body whose every name `model` takes or knows. Its values are not validated.

    Raises:
        ApiError: 400 for an unknown name; else as `read_object` does.
    """
    body = await read_object(request, empty_allowed=empty_allowed)
    refuse_unknown_names(model, body)
    return body


def refuse_parameters(request: web.Request, model: type[Request]) -> None:
    """Check that `model` has every parameter of the query.

    Raises:
        ApiError: 400, naming the first that it does not take and the nearest that it does.
    """
    taken = taken_names(model)
    unknown = sorted(set(request.query) - taken)
    if unknown:
        raise ApiError(HTTPStatus.BAD_REQUEST, unknown_text(unknown[0], taken, "parameter"))


def read_query(model: type[_R], request: web.Request, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> _R:
    """Return the query as a model; of a repeated parameter the first counts.

    Raises:
        ApiError: With `status`, for the first fault in the model's order.
    """
    return validated(model, {key: request.query[key] for key in request.query}, status)


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
