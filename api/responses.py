"""JSON responses: encoded values, lists and pages, read from the database off the event loop."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import hdrs, web
from sqlalchemy import Connection

from api.context import SERVICES

# Items of a list that are encoded in one call; they take some tenths of a millisecond.
_PORTION: Final = 32
# Shorter answers are not compressed: they fit into a few packets.
_WORTH_PACKING_BYTES: Final = 4096
# The fastest: the next levels save a tenth and take twice as long.
_LEVEL: Final = 1


def encode(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()


def encode_list(key: str, items: Iterable[Mapping[str, Any]]) -> bytes:
    """Return `{key: [items]}` as JSON, a few items at a time.

    One call for thousands of items would hold Python's lock, and with it the event loop, for tens of milliseconds.
    """
    rest = iter(items)
    portions = iter(lambda: list(islice(rest, _PORTION)), [])
    return b"{%s: [%s]}" % (encode(key), b", ".join(encode(portion)[1:-1] for portion in portions))


def encode_page(request: web.Request, key: str, items: list[bytes], *, last: int | None, limit: int) -> bytes:
    """Return `{key: [items], "next": path of the next page or null}` as JSON.

    Args:
        request: Its path and query are those of the next page, but for the marker.

        key: Name of the list.

        items: Encoded items of this page.

        last: Id of the last item; None: the page is empty.

        limit: Most items of a page.
    """
    following = None
    if last is not None and len(items) == limit:
        query = {**request.query, "limit": str(limit), "marker": str(last)}
        following = f"{request.path}?{urlencode(query)}"
    return b'{%s: [%s], "next": %s}' % (encode(key), b", ".join(items), encode(following))


def json_response(body: bytes, status: int = 200) -> web.Response:
    """Return a response with JSON that is encoded already."""
    return web.Response(status=status, body=body, content_type="application/json")


async def database_response(request: web.Request, query: Callable[[Connection], bytes]) -> web.Response:
    """Return the response 200 with the JSON that `query` makes of a reading connection, in a thread.

    A long one is compressed, in that thread too, for a client that takes gzip.

    Raises:
        ApiError: 503 when the database did not answer in time; else as `query` does.
    """
    may_pack = accepts_gzip(request)

    def read(connection: Connection) -> tuple[bytes, bool]:
        body = query(connection)
        is_packed = may_pack and len(body) >= _WORTH_PACKING_BYTES
        return (gzip.compress(body, _LEVEL, mtime=0) if is_packed else body), is_packed

    body, is_packed = await request.app[SERVICES].reads.run(read)
    response = json_response(body)
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    if is_packed:
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    return response


def accepts_gzip(request: web.Request) -> bool:
    """Return whether the client takes an answer compressed by gzip."""
    for coding in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
