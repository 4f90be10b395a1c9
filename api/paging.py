"""`limit` and `marker` of a list that comes in pages: the id of the last row seen, and how many more are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from api.errors import ApiError
from api.reads import encode

_DEFAULT: Final = 100
_MOST: Final = 1000
# The longest run of digits that surely fits the database's integers.
_ID_DIGITS: Final = 18


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list is asked for."""

    limit: int
    # Id of the last row of the page before; None for the first page.
    marker: int | None


def read_page(request: web.Request) -> Page:
    """Return what the query asks for.

    Raises:
        ApiError: 400 for a limit that is not 1 to 1000, or a marker that is no id.
    """
    limit, marker = request.query.get("limit"), request.query.get("marker")
    if limit is not None and not (_is_number(limit) and 1 <= int(limit) <= _MOST):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"limit must be a number from 1 to {_MOST}")
    if marker is not None and not _is_number(marker):
        raise ApiError(HTTPStatus.BAD_REQUEST, "marker must be the id of the last entry seen, as `next` gives it")
    return Page(limit=_DEFAULT if limit is None else int(limit), marker=None if marker is None else int(marker))


def page_body(request: web.Request, key: str, items: list[bytes], *, last: int | None, page: Page) -> bytes:
    """Return `{key: [items], "next": path of the next page or null}`; `last` is the id of the last item."""
    following = None
    if last is not None and len(items) == page.limit:
        query = {**request.query, "limit": str(page.limit), "marker": str(last)}
        following = f"{request.path}?{urlencode(query)}"
    return b'{%s: [%s], "next": %s}' % (encode(key), b", ".join(items), encode(following))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS
