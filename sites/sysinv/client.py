"""Asks one Keystone and the service behind it: logs in, gets JSON, repeats what a short pause may heal.

One session, one site, a few requests: its connections are closed with it, for at 250 sites at once idle ones would cost
more memory than everything else.
"""

from __future__ import annotations

import asyncio
import errno
import json
import ssl
from collections.abc import Collection, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from sites.errors import TRANSIENT, ErrorKind, SiteRequestError
from sites.sysinv.access import Access, Address
from sites.sysinv.auth import SiteToken, read_token

# What a real answer stays far below, in bytes.
_LONGEST_BODY: Final = 4 * 1024 * 1024
_CONNECTIONS: Final = 2
# The client that sysinv knows; `User-Header` is what a distributed cloud's own requests carry.
_HEADERS: Final = {"User-Agent": "cgtsclient", "Accept": "application/json", "User-Header": "distcloud"}
# Failures to connect that come of this machine.
_OURS: Final = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_BY_STATUS: Final[Mapping[int, ErrorKind]] = {
    HTTPStatus.UNAUTHORIZED: ErrorKind.TOKEN,
    HTTPStatus.FORBIDDEN: ErrorKind.FORBIDDEN,
    HTTPStatus.NOT_FOUND: ErrorKind.MISSING,
    HTTPStatus.LOOP_DETECTED: ErrorKind.LOOP,
}


class SiteSession:
    """An asynchronous context; see the module."""

    def __init__(
        self,
        access: Access,
        address: Address,
        *,
        longest_body: int = _LONGEST_BODY,
        connections: int = _CONNECTIONS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make a session that takes answers of at most `longest_body` bytes and sends `headers` too.

        At most `connections` are open at once; requests beyond wait for one.
        """
        self._access = access
        self._address = address
        self._longest_body = longest_body
        self._connections = connections
        self._headers = {**_HEADERS, **(headers or {})}
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session; nothing connects yet."""
        timeouts = self._access.timeouts
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(sock_connect=timeouts.connect_s, sock_read=timeouts.read_s),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def get(self, path: str, *, transient: Collection[ErrorKind] = TRANSIENT) -> Any:
        """Return the JSON value at `path`; a token that is not taken is replaced once, and `transient` is tried again.

        Raises:
            SiteRequestError: There was no usable answer, in the second try where a pause may have healed it.
        """
        token = await self._token()
        try:
            return await self._get(path, token, transient)
        except SiteRequestError as error:
            if error.kind is not ErrorKind.TOKEN:
                raise
        self._access.tokens.drop(self._address.keystone_url, token)
        try:
            return await self._get(path, await self._token(), transient)
        except SiteRequestError as error:
            if error.kind is not ErrorKind.TOKEN:
                raise
            raise SiteRequestError(
                ErrorKind.LOGIN, f"GET {path} did not take a token from a new login (401)."
            ) from None

    async def _token(self) -> SiteToken:
        found = self._access.tokens.find(self._address.keystone_url)
        if found is None:
            found = await self._log_in()
            self._access.tokens.keep(self._address.keystone_url, found)
        return found

    async def _log_in(self) -> SiteToken:
        url, body = f"{self._address.keystone_url}/auth/tokens", self._access.account.login_body()
        try:
            text, answer = await self._repeat("POST", url, "The login at Keystone", TRANSIENT, json=body)
        except SiteRequestError as error:
            if error.kind is not ErrorKind.TOKEN:
                raise
            user = self._access.account.username
            raise SiteRequestError(ErrorKind.LOGIN, f"Keystone refused the login of {user} (401).") from None
        return read_token(text, answer)

    async def _get(self, path: str, token: SiteToken, transient: Collection[ErrorKind]) -> Any:
        url, headers = f"{self._address.service_url}{path}", {"X-Auth-Token": token.text}
        _, answer = await self._repeat("GET", url, f"GET {path}", transient, headers=headers)
        return answer

    async def _repeat(
        self, verb: str, url: str, what: str, transient: Collection[ErrorKind], **options: Any
    ) -> tuple[str | None, Any]:
        for attempt in range(1, self._access.timeouts.tries + 1):
            try:
                return await self._send(verb, url, what, **options)
            except SiteRequestError as error:
                if attempt == self._access.timeouts.tries or error.kind not in transient:
                    raise
            await asyncio.sleep(self._access.timeouts.pause_s)
        raise AssertionError("unreachable")

    async def _send(self, verb: str, url: str, what: str, **options: Any) -> tuple[str | None, Any]:
        """Return the subject token, if there is one, and the JSON value of an answer."""
        if self._client is None:
            raise RuntimeError("the session is not open")
        secured = self._access.trust.context() if url.startswith("https:") else True
        try:
            # A redirect would take the token, or the password, elsewhere.
            async with self._client.request(verb, url, ssl=secured, allow_redirects=False, **options) as response:
                body = await _read(response, what, self._longest_body)
                _refuse_status(response.status, what)
                return response.headers.get("X-Subject-Token"), _parse(body, what)
        except (TimeoutError, aiohttp.ClientError, OSError, ssl.SSLError) as error:
            raise _connection_error(error, url, what) from None


async def _read(response: aiohttp.ClientResponse, what: str, longest: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > longest:
            raise SiteRequestError(ErrorKind.UNUSABLE, f"{what} gave more than {longest} bytes.")
    return bytes(body)


def _refuse_status(status: int, what: str) -> None:
    if status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return
    kind = _BY_STATUS.get(status, ErrorKind.UNUSABLE)
    # 400 is what sysinv answers to its health while it cannot ask its own parts.
    is_server = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _BY_STATUS
    if is_server or (status == HTTPStatus.BAD_REQUEST and "/health" in what):
        kind = ErrorKind.SERVER
    raise SiteRequestError(kind, f"{what} was answered with {status}.")


def _parse(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise SiteRequestError(ErrorKind.UNUSABLE, f"{what} was not answered with JSON.") from None


def _connection_error(error: Exception, url: str, what: str) -> SiteRequestError:
    """Return why no answer came, in words that name the place and no more."""
    place = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _tls_error(error, place)
    if isinstance(error, aiohttp.InvalidURL):
        return SiteRequestError(ErrorKind.OURS, f"{what} has no usable URL.")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return SiteRequestError(ErrorKind.UNREACHABLE, f"{place} took no connection in time.")
    if isinstance(error, TimeoutError):
        return SiteRequestError(ErrorKind.UNREACHABLE, f"{what} was not answered in time.")
    if isinstance(error, OSError) and error.errno is not None:
        return _system_error(error.errno, place)
    return SiteRequestError(ErrorKind.UNREACHABLE, f"{place} closed the connection.")


def _tls_error(error: aiohttp.ClientSSLError | ssl.SSLError, place: str) -> SiteRequestError:
    cause = getattr(error, "certificate_error", error)
    if isinstance(cause, ssl.CertificateError):
        return SiteRequestError(
            ErrorKind.CERTIFICATE, f"The certificate of {place} was not accepted: {cause.verify_message}."
        )
    return SiteRequestError(ErrorKind.CERTIFICATE, f"{place} gave no certificate: it does not speak TLS as we do.")


def _system_error(number: int, place: str) -> SiteRequestError:
    if number == errno.ECONNREFUSED:
        return SiteRequestError(ErrorKind.REFUSED, f"{place} refused the connection.")
    kind = ErrorKind.OURS if number in _OURS else ErrorKind.UNREACHABLE
    return SiteRequestError(kind, f"{place} cannot be connected to ({errno.errorcode.get(number, number)}).")
