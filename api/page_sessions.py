"""Sessions of the page: a sealed cookie in the place of a token, and the rules for where it counts.

A cookie knows no port: other pages of this host, such as Horizon, are the same site for a browser and can have it sent
along. So it counts only together with a header that no page of another origin may send, and a request that changes
something must also come from our own origin.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as EncodingError
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from time import time
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from api.auth import Caller, Login
from api.context import PAGE, SERVICES
from api.errors import ApiError, SessionEndedError
from db.encryption import Sealer
from db.errors import UnsealingError

# Sent by the page with each request; its value does not matter.
PAGE_HEADER: Final = "X-Prestager-UI"
# Longest time of a session, in seconds.
LONGEST_S: Final = 8 * 3600
_BOUND_TO: Final = "session of the page"
_READING: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class PageSession:
    """A session: the identity of its caller, see `Login`, and its end in seconds since the epoch."""

    identity: str = field(repr=False)
    expires_at: float

    @classmethod
    def of_login(cls, login: Login) -> PageSession:
        """Return the session of a login: it ends with the token, and after eight hours."""
        ends = time() + LONGEST_S
        return cls(
            identity=login.identity,
            expires_at=ends if login.expires_at is None else min(ends, login.expires_at.timestamp()),
        )

    def sealed(self, sealer: Sealer) -> str:
        """Return the value of its cookie."""
        content = json.dumps({"identity": self.identity, "expires": self.expires_at})
        return urlsafe_b64encode(sealer.seal(content, bound_to=_BOUND_TO).encode()).decode().rstrip("=")

    @classmethod
    def opened(cls, value: str, sealer: Sealer) -> PageSession:
        """Return the session of a cookie.

        Raises:
            SessionEndedError: It has ended, or was not sealed by this installation.
        """
        try:
            sealed = urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode("ascii")
            content = json.loads(sealer.open(sealed, bound_to=_BOUND_TO))
        except (EncodingError, ValueError, UnsealingError):
            raise SessionEndedError from None
        session = cls(identity=content["identity"], expires_at=content["expires"])
        if session.expires_at <= time():
            raise SessionEndedError
        return session


async def identify(request: web.Request) -> Caller:
    """Return the caller of a request, by its token or by the session of the page.

    X-Project-Id and X-User-Id come from the caller and prove nothing.

    Raises:
        AuthenticationError: There is neither, or it is not valid any more.
        ApiError: 403: a request by session that changes something comes from another origin.
        AuthenticatorUnavailableError: Neither can be judged at the moment.
    """
    services = request.app[SERVICES]
    token = request.headers.get("X-Auth-Token") or None
    value = request.cookies.get(cookie_name(request)) if token is None and PAGE in request.app else None
    if value is None or PAGE_HEADER not in request.headers:
        return await services.authenticator.authenticate(token)
    if request.method not in _READING:
        require_own_origin(request)
    return await services.authenticator.resume(PageSession.opened(value, services.sealer).identity)


def require_own_origin(request: web.Request) -> None:
    """Check that a request comes from a page of this address and port, by the headers of the browser.

    Raises:
        ApiError: 403: it does not, or does not say so.
    """
    if PAGE_HEADER not in request.headers or not _is_own(request):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"Only the page itself may ask for this: Origin must be this address and port, with {PAGE_HEADER}.",
        )


def _is_own(request: web.Request) -> bool:
    """Return whether Origin names the host and port that the request was sent to.

    Its scheme may be https where TLS ends in front of this process.
    """
    origin = urlsplit(request.headers.get(hdrs.ORIGIN, ""))
    if origin.scheme not in {request.scheme, "https"}:
        return False
    try:
        own = urlsplit(f"{origin.scheme}://{request.host}")
        default = _DEFAULT_PORTS[origin.scheme]
        return (origin.hostname, origin.port or default) == (own.hostname, own.port or default) and bool(own.hostname)
    except ValueError:
        return False


def is_private(request: web.Request) -> bool:
    """Return whether the browser has reached the page over TLS, ended here or in front of this process."""
    return request.secure or (request.headers.get(hdrs.ORIGIN, "").startswith("https://") and _is_own(request))


def refuse_plain(request: web.Request) -> None:
    """Check that what a login sends stays private: it goes over TLS, or does not leave this machine.

    Raises:
        ApiError: 403: it does not.
    """
    if is_private(request) or request.app[PAGE].may_be_plain:
        return
    # The address that the browser was given, not the one that the request comes from: a published port of a container
    # and a tunnel both begin at the loopback address of the browser's own machine.
    host = urlsplit(f"//{request.host}").hostname or ""
    if not _is_loopback(host):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "Logging in over plain HTTP is refused beyond this machine, for it can be read on the way. Set up TLS"
            " (PRESTAGER_TLS_CERTIFICATE_FILE), or come through a tunnel such as ssh -L 8119:127.0.0.1:8119;"
            " PRESTAGER_UI_INSECURE=true allows it all the same.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def cookie_name(request: web.Request) -> str:
    """Return the name of the session's cookie.

    It has the port, for cookies know none: two installations on one host would log each other out. Over plain HTTP
    browsers take no cookie with the prefix `__Host-`.
    """
    port = urlsplit(f"//{request.host}").port
    name = "prestager" if port is None else f"prestager-{port}"
    secure, plain = f"__Host-{name}", name
    return secure if request.secure or secure in request.cookies else plain


def set_cookie(request: web.Request, response: web.Response, session: PageSession) -> None:
    """Let the browser keep a session; scripts cannot read it, and no other site has it sent."""
    private = is_private(request)
    plain = cookie_name(request).removeprefix("__Host-")
    response.set_cookie(
        f"__Host-{plain}" if private else plain,
        session.sealed(request.app[SERVICES].sealer),
        max_age=max(1, int(session.expires_at - time())),
        path="/",
        secure=private,
        httponly=True,
        samesite="Strict",
    )


def delete_cookie(request: web.Request, response: web.Response) -> None:
    """Let the browser forget the session."""
    plain = cookie_name(request).removeprefix("__Host-")
    for name, secure in ((f"__Host-{plain}", True), (plain, False)):
        if name in request.cookies:
            response.del_cookie(name, path="/", secure=secure, httponly=True, samesite="Strict")
