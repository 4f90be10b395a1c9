"""Bodies and queries that the API itself judges: by their models, in the contract's words."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from aiohttp import web

from api.errors import ApiError
from messages.requests.reading import Request, RequestFault, read

_R = TypeVar("_R", bound=Request)


def judged(model: type[_R], data: Mapping[str, Any], status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> _R:
    """Return what `data` holds.

    Raises:
        ApiError: With `status`, for the first fault in the model's order.
    """
    try:
        return read(model, data)
    except RequestFault as fault:
        raise ApiError(status, str(fault)) from None


def read_query(model: type[_R], request: web.Request, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> _R:
    """Return what the query asks for; of a repeated parameter the first counts.

    Raises:
        ApiError: With `status`, for the first fault in the model's order.
    """
    return judged(model, {key: request.query[key] for key in request.query}, status)
