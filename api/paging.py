"""A list that comes in pages: each tells the path of the next."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from api.database_reader import encode
from messages.requests.queries import PageQuery


def page_body(request: web.Request, key: str, items: list[bytes], *, last: int | None, page: PageQuery) -> bytes:
    """Return `{key: [items], "next": path of the next page or null}`; `last` is the id of the last item."""
    following = None
    if last is not None and len(items) == page.limit:
        query = {**request.query, "limit": str(page.limit), "marker": str(last)}
        following = f"{request.path}?{urlencode(query)}"
    return b'{%s: [%s], "next": %s}' % (encode(key), b", ".join(items), encode(following))
