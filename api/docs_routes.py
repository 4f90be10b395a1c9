"""Routes of the OpenAPI document and its HTML page, without a token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Final, NamedTuple

from aiohttp import hdrs, web


class ApiDocuments(NamedTuple):
    """The documents as they are sent."""

    # OpenAPI, as JSON.
    document: str
    # HTML.
    html: str
    # The only style that the HTML page may have, as a source of its Content-Security-Policy.
    style_source: str


class Documents:
    """The documents, made at the first request and kept."""

    def __init__(self, make: Callable[[], ApiDocuments]) -> None:
        self._make = make

    @cached_property
    def made(self) -> ApiDocuments:
        """The documents; made at the first access, which takes about a second."""
        return self._make()


DOCUMENTS: Final = web.AppKey("documents", Documents)

# A browser asks again after an upgrade.
_FRESH: Final = {hdrs.CACHE_CONTROL: "no-cache", "X-Content-Type-Options": "nosniff"}


async def show_document(request: web.Request) -> web.Response:
    """Show this document."""
    made = await _made(request)
    return web.Response(text=made.document, content_type="application/json", headers=_FRESH)


async def show_html(request: web.Request) -> web.Response:
    """Show this document as a page for people, which needs no scripts and nothing from elsewhere."""
    made = await _made(request)
    # Nothing is fetched, run, framed or sent from the page, whatever a text may come to hold.
    policy = (
        f"default-src 'none'; style-src {made.style_source}; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    headers = {**_FRESH, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return web.Response(text=made.html, content_type="text/html", headers=headers)


async def _made(request: web.Request) -> ApiDocuments:
    return await asyncio.to_thread(lambda: request.app[DOCUMENTS].made)
