"""Validation of paths, queries and bodies of requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from aiohttp import web

from api.errors import ApiError
from api.request_body import read_object
from messages.errors import RequestError
from messages.limits import TEXT_LENGTH, is_id, is_storable
from messages.requests.base import Request, parse_request, reject_unknown, taken_names, unknown_text


def subcloud_not_found() -> ApiError:
    """Return the error of an unknown subcloud."""
    return ApiError(HTTPStatus.NOT_FOUND, "Subcloud not found")


def group_not_found() -> ApiError:
    """Return the error of an unknown group."""
    return ApiError(HTTPStatus.NOT_FOUND, "Subcloud Group not found")


def step_not_found() -> ApiError:
    """Return the error of an unknown step."""
    return ApiError(HTTPStatus.NOT_FOUND, "Strategy step not found")


def webhook_not_found() -> ApiError:
    """Return the error of an unknown webhook."""
    return ApiError(HTTPStatus.NOT_FOUND, "Webhook not found")


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
    """Return what `data` holds.

    Raises:
        ApiError: With `status`, for the first fault in the model's order.
    """
    try:
        return parse_request(model, data)
    except RequestError as fault:
        raise ApiError(status, str(fault)) from None


def refuse_unknown_names(model: type[Request], names: Iterable[str]) -> None:
    """Do nothing where `model` takes, or at least knows, the names of every field of a body.

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
    """Do nothing where `model` takes every parameter of the query.

    Raises:
        ApiError: 400, naming the first that it does not take and the nearest that it does.
    """
    taken = taken_names(model)
    unknown = sorted(set(request.query) - taken)
    if unknown:
        raise ApiError(HTTPStatus.BAD_REQUEST, unknown_text(unknown[0], taken, "parameter"))


def read_query(model: type[_R], request: web.Request, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> _R:
    """Return what the query asks for; of a repeated parameter the first counts.

    Raises:
        ApiError: With `status`, for the first fault in the model's order.
    """
    return validated(model, {key: request.query[key] for key in request.query}, status)
