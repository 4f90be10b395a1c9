"""The one way in which a handler says no."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

MALFORMED: Final = "Request body is malformed."
BODY_REQUIRED: Final = "Body required"
# How long a client should wait when the database or the broker is away, in seconds.
RETRY_AFTER: Final = {"Retry-After": "5"}


class ApiError(Exception):
    """A request is answered with an error page.

    `detail` is shown to the caller: it never holds a secret, nor anything of the inside.
    """

    def __init__(self, status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def malformed() -> ApiError:
    """Return the error of a body that cannot be read."""
    return ApiError(HTTPStatus.BAD_REQUEST, MALFORMED)


def body_required() -> ApiError:
    """Return the error of a body with nothing in it."""
    return ApiError(HTTPStatus.BAD_REQUEST, BODY_REQUIRED)
