"""Requests as the actors take them: judged by their models, refused in the contract's words. No database, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from actors.coordinator.errors import bad_request
from messages.errors import RequestError
from messages.requests.base import Request, parse_request, reject_unknown
from messages.requests.strategy import ReleaseRequest

_R = TypeVar("_R", bound=Request)


def read_request(model: type[_R], data: Mapping[str, Any]) -> _R:
    """Return the request.

    Raises:
        CommandRefusedError: 400 with the contract's text for the first fault in its order.
    """
    try:
        return parse_request(model, data)
    except RequestError as fault:
        raise bad_request(str(fault)) from None


def read_body(model: type[_R], data: Mapping[str, Any], *, whole: type[Request] | None = None) -> _R:
    """Return the request of a body whose every name has to be known.

    Args:
        model: Takes the fields.

        data: The body.

        whole: Takes all fields of the body, where `model` takes a part of them.

    Raises:
        CommandRefusedError: 400 naming the first name that is not known; else as `read_request` does.
    """
    try:
        reject_unknown(whole or model, data)
    except RequestError as fault:
        raise bad_request(str(fault)) from None
    return read_request(model, data)


def read_release(data: Mapping[str, Any], default: str | None) -> str:
    """Return the release to stage.

    Raises:
        CommandRefusedError: 400; not of the form MM.mm, or none given and none configured.
    """
    requested = read_request(ReleaseRequest, data).release or default
    if requested is None:
        raise bad_request("release required: the system controller's own release is not configured (PRESTAGER_RELEASE)")
    return requested
