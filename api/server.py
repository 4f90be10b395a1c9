"""The HTTP server around the application: its limits and its own log."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Final

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from api.connections import ConnectionBounds
from api.listener import BoundedSite, TlsContext, in_the_clear

# Longer than a usual proxy keeps its connections, in seconds; aiohttp's own hour lets idle ones pile up.
_KEEPALIVE_S: Final = 75.0
# How long the body of a request that was answered already is taken in, in seconds.
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
    # What a caller writes wrong is answered. As a warning, each text of his would go to our log and stay in memory.
    for category in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.simplefilter("ignore", category)
    return web.AppRunner(app, shutdown_timeout=shutdown_s, **_OPTIONS)


def create_site(
    runner: web.BaseRunner, host: str, port: int, *, bounds: ConnectionBounds, tls: TlsContext = in_the_clear
) -> BoundedSite:
    """Return the listener of a runner that was set up; the caller starts it.

    Args:
        runner: From `create_runner`, or of another application.

        host: Address or name to listen on.

        port: 0 takes a free one.

        bounds: Of the connections.

        tls: Returns the TLS context for the next connection; None: in the clear.
    """
    return BoundedSite(runner, host, port, bounds=bounds, options=_OPTIONS, tls=tls)
