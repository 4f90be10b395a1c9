"""HTTP server around the application: listens within bounds, in the clear or by TLS."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from api.connections import BoundedHandler, ConnectionBounds, ConnectionCounts
from api.error_response import last_answer
from api.errors import TooManyConnectionsError

_log = structlog.get_logger(__name__)

_BACKLOG: Final = 512
# Pause after the system had no descriptor for a connection, in seconds.
_SHORTAGE_PAUSE_S: Final = 0.5
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# Pause between two lines about refused connections, in seconds.
_LOG_EVERY_S: Final = 10.0
# Time after which sent bytes without an acknowledgement mean that the peer is gone, in milliseconds.
_PEER_GONE_MS: Final = 60_000
_SHUTDOWN_S: Final = 5.0
_REFUSED: Final = last_answer(503, "There are too many connections; try again later.", "Retry-After: 5")

# Returns the context for the next connection; None: in the clear.
TlsContext = Callable[[], ssl.SSLContext | None]


def no_tls() -> None:
    """Return no context: the connection is not encrypted."""


class BoundedListener(web.BaseSite):
    """Listens at an address for a runner that was set up.

    Args:
        runner: Its cleanup ends the listening.
        host: Address or name; a name may stand for several addresses.
        port: 0 takes a free one.
        bounds: How many connections there may be, and how long they may take.
        options: Of each connection, as `aiohttp.web.RequestHandler` takes them.
        tls: Asked for each connection.
    """

    def __init__(  # noqa: PLR0913 - all by name but the address
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        *,
        bounds: ConnectionBounds,
        options: dict[str, Any],
        tls: TlsContext = no_tls,
    ) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._bounds = bounds
        self._options = options
        self._tls = tls

    @property
    def name(self) -> str:
        """The URL, with the port that was asked for."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls() else 'http'}://{host}:{self._port}"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: The address cannot be listened on.
        """
        sockets = await _listening_sockets(self._host, self._port)
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner was not set up")
        # Of a server aiohttp reads the sockets, and closes it.
        acceptor = _Acceptor(sockets, server, self._bounds, self._options, self._tls)
        self._server = acceptor  # type: ignore[assignment]


class _Acceptor:
    """Takes connections in; begins when it is made, and ends when it is closed."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        server: web.Server,
        bounds: ConnectionBounds,
        options: dict[str, Any],
        tls: TlsContext,
    ) -> None:
        # Read by `web.BaseRunner.addresses`.
        self.sockets = tuple(sockets)
        self._server = server
        self._bounds = bounds
        self._options = options
        self._tls = tls
        self._counts = ConnectionCounts(bounds)
        self._refused = 0
        self._logged_at = float("-inf")
        self._accepting = [asyncio.create_task(self._accept(one)) for one in sockets]
        self._opening: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Take no more connections; those that are there go on."""
        for task in (*self._accepting, *self._opening):
            task.cancel()
        for one in self.sockets:
            asyncio.get_running_loop().remove_reader(one)
            one.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:
                # One that is gone already is no trouble.
                if error.errno in _SHORTAGES:
                    _log.warning("connections.no-descriptor", fault=error.strerror)
                    await asyncio.sleep(_SHORTAGE_PAUSE_S)
                continue
            try:
                release = self._counts.admit(str(peer[0]))
            except TooManyConnectionsError as error:
                self._refuse(connection, str(error))
                # Lets others have their turn: a flood is never waited for.
                await asyncio.sleep(0)
                continue
            task = loop.create_task(self._open(connection, release))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, release: Callable[[], None]) -> None:
        """Make a connection one of the server's; until then, and if it fails, this is who closes it."""
        loop = asyncio.get_running_loop()
        context = self._tls()
        times = {"ssl_handshake_timeout": self._bounds.head_s, "ssl_shutdown_timeout": _SHUTDOWN_S} if context else {}
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_GONE_MS)
            _ = await loop.connect_accepted_socket(
                lambda: BoundedHandler(self._server, self._bounds, release, loop=loop, **self._options),
                connection,
                ssl=context,
                **times,
            )
        except (OSError, asyncio.CancelledError) as error:
            # Also a handshake that is no TLS or takes too long.
            release()
            connection.close()
            if isinstance(error, asyncio.CancelledError):
                raise

    def _refuse(self, connection: socket.socket, whose: str) -> None:
        with connection, suppress(OSError):
            if self._tls() is None:
                # Both without waiting: a refusal that does not fit is dropped.
                connection.send(_REFUSED)
                connection.shutdown(socket.SHUT_WR)
        self._refused += 1
        now = asyncio.get_running_loop().time()
        if now >= self._logged_at + _LOG_EVERY_S:
            _log.warning("connections.refused", count=self._refused, too_many_of=whose)
            self._refused, self._logged_at = 0, now


async def _listening_sockets(host: str, port: int) -> list[socket.socket]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            sockets.append(socket.create_server(address[:2], family=family, backlog=_BACKLOG))
            sockets[-1].setblocking(False)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


# Longer than a usual proxy keeps its connections, in seconds; aiohttp's own hour lets idle ones pile up.
_KEEPALIVE_S: Final = 75.0
# How long to read the rest of a body after the response was sent, in seconds.
_LINGERING_S: Final = 3.0
# Largest request line and largest header, in bytes; Keystone's longest tokens stay well below.
_LINE_BYTES: Final = 8190
_HEADER_COUNT: Final = 64

_logger: Final = logging.getLogger("api.http")


class _NoRequestBytes(logging.Filter):
    """Takes the cause out of records about unreadable requests: it quotes the request, token and all.

    A body that cannot be decoded is its sender's fault too, and found only after the answer where no handler reads it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record, some of them shortened."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RequestPayloadError):
            record.msg = "Body of a request cannot be decoded"
        if isinstance(error, (HttpProcessingError, RequestPayloadError)):
            record.exc_info = None
            record.msg = f"{record.msg}: {type(error).__name__}"
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


# Of each connection, as aiohttp takes them.
_OPTIONS: Final[dict[str, Any]] = {
    # The application writes its own line per request.
    "access_log": None,
    "logger": _logger,
    "keepalive_timeout": _KEEPALIVE_S,
    "max_line_size": _LINE_BYTES,
    "max_field_size": _LINE_BYTES,
    "max_headers": _HEADER_COUNT,
    "lingering_time": _LINGERING_S,
}

_logger.addFilter(_NoRequestBytes())


def create_runner(app: web.Application, *, shutdown_s: float = 10.0) -> web.AppRunner:
    """Return the runner to be set up and given sites by the caller.

    Args:
        app: From `create_app`.

        shutdown_s: How long requests in flight may take when the server stops, in seconds.
    """
    # Malformed headers are answered. As warnings, their texts would go to the log and stay in memory.
    for category in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.simplefilter("ignore", category)
    return web.AppRunner(app, shutdown_timeout=shutdown_s, **_OPTIONS)


def create_listener(
    runner: web.BaseRunner, host: str, port: int, *, bounds: ConnectionBounds, tls: TlsContext = no_tls
) -> BoundedListener:
    """Return the listener of a runner that was set up; the caller starts it.

    Args:
        runner: From `create_runner`, or of another application.

        host: Address or name to listen on.

        port: 0 takes a free one.

        bounds: Of the connections.

        tls: Returns the TLS context for the next connection; None: in the clear.
    """
    return BoundedListener(runner, host, port, bounds=bounds, options=_OPTIONS, tls=tls)
