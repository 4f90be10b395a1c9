"""Names and ids in the path; one that nothing can be called is not found before anybody looks."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from api.errors import ApiError
from messages.json_limits import is_storable

# Longest name of a subcloud or group, in characters.
_NAME_LENGTH: Final = 255
# The longest run of digits that surely fits the database's integers.
_ID_DIGITS: Final = 18


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
    if not (text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS):
        raise otherwise
    return int(text)


def path_ref(request: web.Request, otherwise: ApiError) -> str:
    """Return the name or id in the path, or raise `otherwise`."""
    ref = request.match_info["ref"]
    if len(ref) > _NAME_LENGTH or not is_storable(ref):
        raise otherwise
    return ref
