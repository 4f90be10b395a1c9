"""HTTP client of the webhook sender: bounded in time, without redirects, proxies and cookies; no answer is kept."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from webhooks.retry_policy import Reply

if TYPE_CHECKING:
    from webhooks.http_session import HttpSession

# Longest try: connect, send and answer together.
TIMEOUT_S: Final = 10.0
# Tries of all webhooks at once.
AT_ONCE: Final = 32


class WebhookClient:
    """Posts to the receivers of all webhooks; used on one event loop, as a context.

    `ca_file` holds the authorities of their certificates instead of the system's; `allowed` are networks that may be
    reached though they are this machine's own.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        allowed: Sequence[IPv4Network | IPv6Network] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._ca_file = ca_file
        self._allowed = tuple(allowed)
        self._timeout_s = timeout_s
        self._is_open = False
        self._session: HttpSession | None = None
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Begin; nothing connects yet."""
        self._is_open = True
        return self

    async def _open_session(self) -> HttpSession:
        """Return the session. Made with the first post: to read the system's authorities takes a while."""
        async with self._making:
            if self._session is None:
                trust = await asyncio.to_thread(_read_trust, self._ca_file)
                # See the module for why it is loaded here.
                from webhooks.http_session import HttpSession  # noqa: PLC0415

                self._session = HttpSession(trust, self._allowed, timeout_s=self._timeout_s, connections=AT_ONCE)
            return self._session

    async def __aexit__(self, *ended: object) -> None:
        """Close every connection."""
        self._is_open = False
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Post once and return the reply; errors of receiver and network are in it.

        Raises:
            RuntimeError: Outside of the context.
        """
        if not self._is_open:
            raise RuntimeError("the client is used as a context")
        session = await self._open_session()
        return await session.post(url, headers, body)


def _read_trust(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
