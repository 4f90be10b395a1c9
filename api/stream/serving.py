"""What the streams of the API have in common: how long a listener may take, and whether it may still listen."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.auth import READ, AuthenticationError, AuthenticatorUnavailableError
from api.context import SERVICES

# How long a listener may take to take something in, in seconds.
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


async def is_still_known(request: web.Request) -> bool:
    """Tell whether the caller's token is still good for reading."""
    try:
        caller = await request.app[SERVICES].authenticator.authenticate(request.headers.get("X-Auth-Token"))
    except AuthenticationError:
        return False
    except AuthenticatorUnavailableError:
        # Nobody can tell now; the next look may.
        return True
    return caller.may(READ)
