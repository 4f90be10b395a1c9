"""Bounds of connections: their number in all and by address, and the time to send a head and to read a response."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from aiohttp import web
from aiohttp.streams import StreamReader

from api.error_response import error_response, last_answer
from api.errors import TooManyConnectionsError

# A provider gives each customer at least a network of this size, so one caller may have all its addresses.
_IPV6_HOST_BITS: Final = 64
# Progress that a slow reader must make within `write_s`, in bytes.
_PROGRESS_BYTES: Final = 64 * 1024
_TIMED_OUT: Final = last_answer(408, "The head of the request did not come in time.")
_UNREADABLE: Final = "The request is no HTTP that can be read, or a header is too long."


@dataclass(frozen=True, kw_only=True)
class ConnectionBounds:
    """Bounds of the connections of one listener."""

    total: int
    per_address: int
    # How long the head of a request may take from its first byte, the first one from the connection on, in seconds;
    # and the TLS handshake.
    head_s: float = 10.0
    # Time within which a caller must read 64 KiB of a response, in seconds.
    write_s: float = 30.0


class ConnectionCounts:
    """Counts the connections of one listener; used on one event loop."""

    def __init__(self, bounds: ConnectionBounds) -> None:
        self._bounds = bounds
        self._by_address: Counter[str] = Counter()

    def admit(self, address: str) -> Callable[[], None]:
        """Count a connection from an address and return what takes it off the count; repeating that does nothing.

        Raises:
            TooManyConnectionsError: It is one too many; it is not counted.
        """
        source = _source(address)
        if self._by_address.total() >= self._bounds.total:
            raise TooManyConnectionsError("all together")
        if self._by_address[source] >= self._bounds.per_address:
            raise TooManyConnectionsError("one address")
        self._by_address[source] += 1
        is_counted = True

        def release() -> None:
            nonlocal is_counted
            if is_counted:
                is_counted = False
                self._by_address[source] -= 1
                if not self._by_address[source]:
                    del self._by_address[source]

        return release


def _source(address: str) -> str:
    """Return what stands for one caller: an IPv4 address, or the network of an IPv6 address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Address(int(found) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS))
    return str(found.ipv4_mapped if isinstance(found, IPv6Address) else found)


class BoundedHandler(web.RequestHandler):
    """One connection, which ends when a head takes too long or an answer is not taken in.

    aiohttp bounds how long a connection idles between requests; bodies are bounded where they are read.
    """

    __slots__ = ("_body", "_bounds", "_has_begun", "_head_timer", "_on_end", "_unsent_bytes", "_write_timer")

    def __init__(self, server: web.Server, bounds: ConnectionBounds, on_end: Callable[[], None], **given: Any) -> None:
        super().__init__(server, **given)
        self._bounds = bounds
        self._on_end = on_end
        # That of the request whose head came last.
        self._body: StreamReader | None = None
        # Whether anything came on this connection.
        self._has_begun = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head, with a bound from now on."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            # Otherwise up to 64 KiB of a response could wait for ever without a call of pause_writing.
            transport.set_write_buffer_limits(high=0)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take the connection off the count."""
        self._head_came()
        self._cancel_write_timer()
        self._on_end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and begin or end to wait for a head."""
        self._has_begun = self._has_begun or bool(data)
        is_head = self._body is None or self._body.is_eof()
        seen = self._request_count
        super().data_received(data)
        if self._request_count != seen:
            self._head_came()
            self._body = self._messages[-1][1] if self._messages else None
        elif is_head and data:
            self._await_head()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the error page of a request that aiohttp itself refuses; the connection ends with it.

        Raises:
            ConnectionError: An answer has begun already.
        """
        # Called for its log line and its ConnectionError; its response repeats what was sent.
        _ = super().handle_error(request, status, exc, message)
        page = error_response(request, status, _UNREADABLE if status == HTTPStatus.BAD_REQUEST else "", {})
        page.force_close()
        return page

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; what aiohttp itself refuses, such as an unknown `Expect`, as an error page."""
        if isinstance(resp, web.HTTPError):
            resp = error_response(request, resp.status, "", {})
        return await super().finish_response(request, resp, start_time)

    def pause_writing(self) -> None:
        """Begin to wait until what was written is taken in."""
        super().pause_writing()
        self._await_progress()

    def resume_writing(self) -> None:
        """Wait no more: everything was taken in."""
        self._cancel_write_timer()
        super().resume_writing()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._bounds.head_s, self._head_is_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._request_in_progress or self._messages:
            # Requests before it get their answers; then the connection ends.
            self.close()
            return
        if self.transport is not None and self._has_begun:
            self.transport.write(_TIMED_OUT)
        self.force_close()

    def _await_progress(self) -> None:
        self._unsent_bytes = self._unsent()
        self._write_timer = self._loop.call_later(self._bounds.write_s, self._check_progress)

    def _check_progress(self) -> None:
        self._write_timer = None
        if self._unsent() > self._unsent_bytes - _PROGRESS_BYTES:
            if self.transport is not None:
                self.transport.abort()
            return
        self._await_progress()

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _unsent(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()
