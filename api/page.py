"""/ui: the page for operators, its files, and logging in. Not of dcmanager's API."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from math import ceil
from pathlib import Path
from time import time
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from api.auth import READ, Caller, Credentials, Login, require_role
from api.context import CALLER, PAGE, SERVICES
from api.errors import RETRY_AFTER, ApiError, AuthenticationError, AuthenticatorUnavailableError
from api.page_sessions import PageSession, delete_cookie, identify, refuse_plain, require_own_origin, set_cookie
from api.responses import accepts_gzip, encode, json_response
from api.validation import read_known, validated
from db.tokens import token_digest
from messages.requests.login import LoginRequest

_ROOT: Final = "/ui"
_INDEX: Final = "index.html"
_FILES: Final = Path(__file__).parents[1] / "ui" / "static"
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
# Nothing comes from elsewhere, and no text of a site or of an operator can become a script.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # A browser asks again after an upgrade, and gets 304 without one.
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}
# What says who is logged in is kept nowhere.
_UNKEPT: Final = {hdrs.CACHE_CONTROL: "no-store"}


@dataclass(frozen=True, kw_only=True)
class _File:
    content: bytes
    compressed: bytes
    content_type: str
    etag: str


@cache
def _page_files() -> dict[str, _File]:
    """Return the files of the page by their names below /ui."""
    return {
        path.relative_to(_FILES).as_posix(): _read(path)
        for path in sorted(_FILES.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(
        content=content,
        compressed=gzip.compress(content, mtime=0),
        content_type=_TYPES[path.suffix],
        etag=sha256(content).hexdigest()[:32],
    )


async def show_page(request: web.Request) -> web.Response:
    """Show the page; its panes are behind `#` in its address."""
    return _file_response(request, (await asyncio.to_thread(_page_files))[_INDEX])


async def show_file(request: web.Request) -> web.Response:
    """Show a file of the page."""
    found = (await asyncio.to_thread(_page_files)).get(request.match_info["name"])
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "The page has no such file.")
    return _file_response(request, found)


def _file_response(request: web.Request, found: _File) -> web.Response:
    response = web.Response(headers=_HEADERS, content_type=found.content_type)
    response.etag = found.etag
    if any(one.value in {found.etag, "*"} for one in request.if_none_match or ()):
        response.set_status(HTTPStatus.NOT_MODIFIED)
        return response
    if found.content_type.startswith("text/"):
        response.charset = "utf-8"
    if accepts_gzip(request):
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        response.body = found.compressed
    else:
        response.body = found.content
    return response


async def log_in(request: web.Request) -> web.Response:
    """Begin a session: by a token, by the code of a login link, or by name and password of Keystone."""
    services, page = request.app[SERVICES], request.app[PAGE]
    require_own_origin(request)
    refuse_plain(request)
    wanted = validated(LoginRequest, await read_known(request, LoginRequest))
    wait_s = page.tries.wait_s(request.remote or "", wanted.username or "")
    if wait_s > 0:
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"Too many tries to log in; the next one is taken in {ceil(wait_s)} s.",
            {hdrs.RETRY_AFTER: str(ceil(wait_s))},
        )
    try:
        login = await _judge(request, wanted)
    except AuthenticationError as error:
        raise ApiError(HTTPStatus.UNAUTHORIZED, str(error)) from None
    except AuthenticatorUnavailableError:
        raise _away() from None
    require_role(login.caller, READ)
    page.tries.forgive(request.remote or "", wanted.username or "")
    request[CALLER] = login.caller
    session = PageSession.of_login(login)
    response = _shown(login.caller, session.expires_at, has_users=services.authenticator.has_users)
    set_cookie(request, response, session)
    return response


async def _judge(request: web.Request, wanted: LoginRequest) -> Login:
    services = request.app[SERVICES]
    authenticator = services.authenticator
    if wanted.token is not None:
        return await authenticator.log_in_by_token(wanted.token)
    if wanted.username is not None:
        account = Credentials(
            username=wanted.username,
            password=wanted.password or "",
            project=wanted.project or "admin",
            domain=wanted.domain,
        )
        return await authenticator.log_in(account)
    digest = token_digest(wanted.code or "")
    sealed = await asyncio.to_thread(request.app[PAGE].codes.take, digest)
    if sealed is None:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "This login link was used already, or has ended: it works once, for ten minutes. Log in with a token, or"
            " make another one: prestager login-link.",
        )
    identity = services.sealer.open(sealed, bound_to=digest)
    return Login(caller=await authenticator.resume(identity), identity=identity)


async def make_code(request: web.Request) -> web.Response:
    """Make a login link for the caller: it works once, for ten minutes."""
    services = request.app[SERVICES]
    token = request.headers.get("X-Auth-Token")
    if not token:
        raise ApiError(HTTPStatus.BAD_REQUEST, "A login link is made with a token, in X-Auth-Token.")
    login = await services.authenticator.log_in_by_token(token)
    code, until = await asyncio.to_thread(
        request.app[PAGE].codes.make, lambda digest: services.sealer.seal(login.identity, bound_to=digest)
    )
    body = {"path": f"{_ROOT}/login#{code}", "expires-at": until.isoformat()}
    return _unkept(json_response(encode(body)))


async def show_session(request: web.Request) -> web.Response:
    """Tell the page how to log in, and who is logged in."""
    has_users = request.app[SERVICES].authenticator.has_users
    try:
        caller = await identify(request)
    except AuthenticationError:
        return _shown(None, None, has_users=has_users)
    except AuthenticatorUnavailableError:
        raise _away() from None
    request[CALLER] = caller
    return _shown(caller, None, has_users=has_users)


async def log_out(request: web.Request) -> web.Response:
    """End the session of this browser. A repeat does nothing."""
    require_own_origin(request)
    response = _unkept(web.Response(status=HTTPStatus.NO_CONTENT))
    delete_cookie(request, response)
    return response


def _away() -> ApiError:
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "The identity service is not available.", RETRY_AFTER)


def _shown(caller: Caller | None, ends: float | None, *, has_users: bool) -> web.Response:
    body = {
        "auth": "keystone" if has_users else "token",
        "name": None if caller is None else caller.name,
        "roles": [] if caller is None else sorted(caller.roles),
        "expires-in-s": None if ends is None else int(ends - time()),
    }
    return _unkept(json_response(encode(body)))


def _unkept(response: web.Response) -> web.Response:
    response.headers.update(_UNKEPT)
    return response


def add_page(router: web.UrlDispatcher, guard_code: Handler) -> None:
    """Add the routes of the page; `guard_code` is `make_code` behind the check of token and role."""
    for path in (_ROOT, f"{_ROOT}/", f"{_ROOT}/login"):
        router.add_get(path, show_page)
    router.add_get(f"{_ROOT}/session", show_session)
    router.add_post(f"{_ROOT}/session", log_in)
    router.add_delete(f"{_ROOT}/session", log_out)
    router.add_post(f"{_ROOT}/login-code", guard_code)
    router.add_get(f"{_ROOT}/{{name:.+}}", show_file)
