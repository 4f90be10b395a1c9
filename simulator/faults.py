"""Faults of one operation of a simulated site.

Bodies are those of the real servers: Keystone's and sysinv's errors are JSON, a proxy's are HTML pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web

_PAGE: Final = "<html><body><h1>{status} {title}</h1>\n{sentence}\n</body></html>\n"


class FaultKind(StrEnum):
    """Faults of an operation."""

    # haproxy without a backend.
    UNAVAILABLE = "unavailable"
    # haproxy whose backend took too long.
    GATEWAY_TIMEOUT = "gateway-timeout"
    # sysinv broke: JSON with JSON in a string.
    BROKEN = "broken"
    # sysinv cannot ask its conductor or the fault manager; only its health says so.
    NO_HEALTH = "no-health"
    # The token, or the password, is not taken.
    UNAUTHORIZED = "unauthorized"
    # The role is not enough.
    FORBIDDEN = "forbidden"
    # The release has no such path.
    NOT_FOUND = "not-found"
    # 200 with a page.
    NOT_JSON = "not-json"
    # The connection ends before any answer.
    CUT = "cut"
    # Only late; the work is done.
    SLOW = "slow"


@dataclass(kw_only=True)
class Fault:
    """A fault of one operation; it goes away after `times` requests, None: it stays."""

    kind: FaultKind
    times: int | None = None
    # Waited before anything else, in seconds.
    delay_s: float = 0.0

    def strike(self) -> FaultKind | None:
        """Return what happens to this request; None: the fault is over."""
        if self.times is None:
            return self.kind
        if self.times <= 0:
            return None
        self.times -= 1
        return self.kind


def faulty_response(kind: FaultKind) -> web.Response | None:
    """Return the answer of a fault; None for those that are no answer."""
    make = _ANSWERS.get(kind)
    return make() if make is not None else None


def unauthorized() -> web.Response:
    """Return Keystone's answer to bad credentials, and that of its guard before the services to a bad token."""
    message = "The request you have made requires authentication."
    return web.json_response({"error": {"code": 401, "message": message, "title": "Unauthorized"}}, status=401)


def sysinv_error(status: int, code: str, sentence: str) -> web.Response:
    """Return an error of sysinv: the JSON that matters is a string within JSON."""
    inner = json.dumps({"faultcode": code, "faultstring": sentence, "debuginfo": None})
    return web.json_response({"error_message": inner}, status=status)


def _page(status: int, title: str, sentence: str) -> web.Response:
    text = _PAGE.format(status=status, title=title, sentence=sentence)
    return web.Response(status=status, text=text, content_type="text/html")


_ANSWERS: Final[Mapping[FaultKind, Callable[[], web.Response]]] = {
    FaultKind.UNAVAILABLE: lambda: _page(503, "Service Unavailable", "No server is available to handle this request."),
    FaultKind.GATEWAY_TIMEOUT: lambda: _page(504, "Gateway Time-out", "The server didn't respond in time."),
    FaultKind.BROKEN: lambda: sysinv_error(500, "Server", "Timeout while waiting on RPC response."),
    FaultKind.NO_HEALTH: lambda: sysinv_error(400, "Client", "Unable to perform health query."),
    FaultKind.UNAUTHORIZED: unauthorized,
    FaultKind.FORBIDDEN: lambda: sysinv_error(403, "Client", "Access was denied to this resource."),
    FaultKind.NOT_FOUND: lambda: sysinv_error(404, "Client", "The resource could not be found."),
    FaultKind.NOT_JSON: lambda: _page(200, "OK", "Welcome"),
}
