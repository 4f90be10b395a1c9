"""Sending of streams: limits for slow readers, and the check that the caller's token is still valid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from aiohttp import web

from api.auth import READ
from api.errors import AuthenticationError, AuthenticatorUnavailableError
from api.page_sessions import identify
from db.errors import DatabaseUnavailableError

# Size of one write, in bytes, and the time within which a listener must read it, in seconds.
CHUNK_BYTES: Final = 256 * 1024
WRITE_S: Final = 10.0
# Pause between two checks of the token, in seconds: so long a revoked token keeps a stream.
TOKEN_S: Final = 30.0


def stream_headers(content_type: str) -> dict[str, str]:
    """Return the headers of a streamed response; `content_type` is that of text, without its charset."""
    return {
        "Content-Type": f"{content_type}; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",
        # Otherwise nginx holds the stream back until a buffer is full.
        "X-Accel-Buffering": "no",
    }


async def send(response: web.StreamResponse, content: bytes) -> None:
    """Send content of any length to a listener that goes on reading.

    Raises:
        ConnectionError: The listener hung up.

        TimeoutError: It reads less than 256 KiB in ten seconds.
    """
    for start in range(0, len(content), CHUNK_BYTES):
        async with asyncio.timeout(WRITE_S):
            await response.write(content[start : start + CHUNK_BYTES])


async def serve(request: web.Request, response: web.StreamResponse, sending: Awaitable[None]) -> bool:
    """Await `sending`, then end the response; return whether the listener was there to the end.

    The connection of a listener that does not read is cut: a response that ends in good order would look complete, and
    what waits to be sent would wait for ever.
    """
    try:
        await sending
        # Waits for all that was written before, which aiohttp would do without a bound.
        async with asyncio.timeout(WRITE_S):
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
        return False
    return True


async def is_still_known(request: web.Request) -> bool:
    """Return whether the caller's token still allows reading; True while tokens cannot be validated."""
    try:
        caller = await identify(request)
    except AuthenticationError:
        return False
    except (AuthenticatorUnavailableError, DatabaseUnavailableError):
        # The token cannot be validated now; the next check may succeed.
        return True
    return caller.may(READ)
