"""Common rules of the streams: how long a listener may take to read, and whether it may still listen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from aiohttp import web

from api.auth import READ
from api.context import SERVICES
from api.errors import AuthenticationError, AuthenticatorUnavailableError
from db.unavailable import DatabaseUnavailableError

# Written at once, in bytes; so much a listener must take in within so many seconds.
CHUNK_BYTES: Final = 256 * 1024
WRITE_S: Final = 10.0
# Pause between two looks at the token, in seconds: so long a revoked one may go on listening.
TOKEN_S: Final = 30.0


def stream_headers(content_type: str) -> dict[str, str]:
    """Return the headers of an answer that comes bit by bit; `content_type` is that of text, without its charset."""
    return {
        "Content-Type": f"{content_type}; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",
        # Else nginx keeps back what was sent until a buffer is full.
        "X-Accel-Buffering": "no",
    }


async def send(response: web.StreamResponse, content: bytes) -> None:
    """Send content of any length to a listener who goes on taking it in.

    Raises:
        ConnectionError: The listener hung up.

        TimeoutError: It takes too little in.
    """
    for start in range(0, len(content), CHUNK_BYTES):
        async with asyncio.timeout(WRITE_S):
            await response.write(content[start : start + CHUNK_BYTES])


async def serve(request: web.Request, response: web.StreamResponse, telling: Awaitable[None]) -> bool:
    """Await what tells something, then end the answer; tell whether the listener was there to the end.

    An answer that a listener does not take in is cut: what ends in good order would look like all there is, and what
    waits to be sent would wait for ever.
    """
    try:
        await telling
        # Waits for all that was written before, which aiohttp would do without a bound.
        async with asyncio.timeout(WRITE_S):
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
        return False
    return True


async def is_still_known(request: web.Request) -> bool:
    """Tell whether the caller's token is still good for reading."""
    try:
        caller = await request.app[SERVICES].authenticator.authenticate(request.headers.get("X-Auth-Token"))
    except AuthenticationError:
        return False
    except (AuthenticatorUnavailableError, DatabaseUnavailableError):
        # Nobody can tell now; the next look may.
        return True
    return caller.may(READ)
