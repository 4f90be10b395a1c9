"""HTTP session of the webhook sender: connections to receivers, and one sentence for each way in which a try fails.

It is loaded with the first try of a process: the library takes 10 MB, and most installations have no webhook.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import aiohttp

from messages.process_info import program_version
from webhooks.addresses import NOT_ALLOWED, AddressNotAllowedError, Network, Resolver, socket_factory
from webhooks.retry_policy import Reply, read_retry_after

# Bytes of an answer's body that are read, so that its connection can be used again, and for how many seconds.
_BODY_BYTES: Final = 1024
_BODY_S: Final = 1.0
# How long a connection is kept for the next event, in seconds: less than receivers keep theirs, for one that they
# close at that moment is a failed try.
_KEPT_S: Final = 2.0

# OpenSSL's codes of a certificate for another name and another address; their text holds the one in the URL.
_OF_ANOTHER: Final = (62, 64)


class HttpSession:
    """Connections to receivers, on one event loop.

    Args:
        trust: Authorities of the receivers' certificates.
        allowed: Networks that may be reached though they are this machine's own.
        timeout_s: Longest try, in seconds.
        connections: Most connections at once.
    """

    def __init__(
        self, trust: ssl.SSLContext, allowed: Sequence[Network], *, timeout_s: float, connections: int
    ) -> None:
        self._timeout_s = timeout_s
        connector = aiohttp.TCPConnector(
            limit=connections,
            ssl=trust,
            resolver=Resolver(),
            socket_factory=socket_factory(allowed),
            keepalive_timeout=_KEPT_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"User-Agent": f"Prestager/{program_version()}"},
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Post once and return the reply; errors of receiver and network are in it."""
        started = monotonic()
        status: int | None = None
        retry_after_s: float | None = None
        error_text = ""
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
                retry_after_s = read_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
                took_s = monotonic() - started
                # The status is enough; a body that drags on only costs the connection.
                with suppress(aiohttp.ClientError, TimeoutError):
                    await asyncio.wait_for(answer.content.read(_BODY_BYTES), _BODY_S)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            took_s = monotonic() - started
            error_text = _sentence(error, self._timeout_s) if status is None else ""
        return Reply(status=status, error=error_text, retry_after_s=retry_after_s, took_s=took_s)


# The first kind that fits. The errors' own texts hold the URL, and go nowhere.
_SENTENCES: Final[tuple[tuple[type[BaseException], Callable[[Any, float], str]], ...]] = (
    (AddressNotAllowedError, lambda _error, _s: NOT_ALLOWED),
    (
        aiohttp.ClientConnectorCertificateError,
        lambda error, _s: f"The receiver's certificate is not trusted: {_reason(error.certificate_error)}.",
    ),
    (aiohttp.ClientConnectorDNSError, lambda _error, _s: "The receiver's name cannot be resolved."),
    (aiohttp.ClientSSLError, lambda _error, _s: "The receiver does not speak TLS as it should."),
    (aiohttp.ClientConnectorError, lambda error, _s: f"The receiver cannot be connected to: {_strerror(error)}."),
    (TimeoutError, lambda _error, timeout_s: f"The receiver did not answer within {timeout_s:g} s."),
    (aiohttp.InvalidURL, lambda _error, _s: "The url cannot be posted to."),
    (aiohttp.ServerDisconnectedError, lambda _error, _s: "The receiver hung up without an answer."),
    (OSError, lambda _error, _s: "The receiver hung up without an answer."),
)


def _sentence(error: Exception, timeout_s: float) -> str:
    """Return the sentence for an error that left a try without an answer."""
    cause = getattr(error, "os_error", None)
    reason = cause if isinstance(cause, AddressNotAllowedError) else error
    for kind, sentence in _SENTENCES:
        if isinstance(reason, kind):
            return sentence(reason, timeout_s)
    return f"The receiver's answer cannot be read ({type(error).__name__})."


def _strerror(error: aiohttp.ClientConnectorError) -> str:
    # The error's own text names the address.
    number = error.os_error.errno
    return os.strerror(number) if number else "no address answers"


def _reason(error: Exception) -> str:
    if getattr(error, "verify_code", 0) in _OF_ANOTHER:
        return "it is for another name or address"
    return str(getattr(error, "verify_message", "") or type(error).__name__)
