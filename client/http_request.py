"""One HTTP request and its answer, with the standard library, which costs the least at the start of a command."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from os import PathLike
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from client.errors import NotConnectedError, SurroundingsError, UnreachableError, UntrustedError

# In seconds. The API itself waits 30 s for the answer to a command.
_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 60.0
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Request(NamedTuple):
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def send_request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, ca_file: str | PathLike[str] | None
) -> HttpAnswer:
    """Send a request over a new connection and return the answer; redirections are not followed.

    Raises:
        NotConnectedError: No connection was made; the request was not sent.
        UnreachableError: There was no whole answer.
        SurroundingsError: The certificate, or the file of authorities, is of no use.
    """
    request = _Request(method, url, headers, body)
    with _sent(request, quiet_s=_ANSWER_S, ca_file=ca_file) as answer:
        return _whole(answer, request.address)


@contextmanager
def open_stream(
    url: str, headers: Mapping[str, str], *, silence_s: float, ca_file: str | PathLike[str] | None
) -> Iterator[HttpAnswer | Iterator[bytes]]:
    """Give the lines of an answer that goes on, as they come, or the whole answer where its status is not 200.

    The lines end where the service ends the answer. Errors of the caller inside the block stay as they are.

    Args:
        url: Whole address of the stream.

        headers: Of the request.

        silence_s: A connection over which nothing comes for so long is given up, in seconds.

        ca_file: Authorities that sign the certificate; None: those of the system.

    Raises:
        NotConnectedError: No connection was made; the request was not sent.
        UnreachableError: There was no answer, or it broke off; while lines are taken, too.
        SurroundingsError: The certificate, or the file of authorities, is of no use.
    """
    request = _Request("GET", url, headers)
    with _sent(request, quiet_s=silence_s, ca_file=ca_file) as answer:
        yield _lines(answer, request.address) if answer.status == HTTPStatus.OK else _whole(answer, request.address)


@contextmanager
def _sent(request: _Request, *, quiet_s: float, ca_file: str | PathLike[str] | None) -> Iterator[HTTPResponse]:
    parts = urlsplit(request.url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme], ca_file)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        with _connecting(request.address):
            connection.connect()
        with _explained(request.address):
            connection.sock.settimeout(quiet_s)
            connection.request(request.method, target, request.body, dict(request.headers))
            answer = connection.getresponse()
        # An error of the caller, such as a closed standard output, is none of the connection's.
        yield answer
    finally:
        connection.close()


@contextmanager
def _connecting(address: str) -> Iterator[None]:
    try:
        with _explained(address):
            yield
    except UnreachableError as error:
        raise NotConnectedError(str(error)) from None


@contextmanager
def _explained(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:
        raise _error(address, error) from None


def _lines(answer: HTTPResponse, address: str) -> Iterator[bytes]:
    while True:
        with _explained(address):
            line = answer.readline()
        if not line:
            return
        yield line


def _whole(answer: HTTPResponse, address: str) -> HttpAnswer:
    found = {name.lower(): value for name, value in answer.getheaders()}
    with _explained(address):
        return HttpAnswer(status=answer.status, headers=found, body=answer.read())


def _connection(scheme: str, host: str, port: int, ca_file: str | PathLike[str] | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=_CONNECT_S)
    # As costly to import as all the rest, and not needed on the controller itself.
    import ssl  # noqa: PLC0415
    from http.client import HTTPSConnection  # noqa: PLC0415

    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SurroundingsError(f"{ca_file} cannot be used as a file of authorities: {error.strerror}.") from None
    return HTTPSConnection(host, port, timeout=_CONNECT_S, context=context)


def _error(address: str, error: OSError | HTTPException) -> UnreachableError | SurroundingsError:
    name = type(error).__name__
    if name == "SSLCertVerificationError":
        reason = getattr(error, "verify_message", "") or "it cannot be verified"
        return UntrustedError(f"The certificate of {address} is not trusted ({reason}).")
    if isinstance(error, TimeoutError):
        return UnreachableError(f"{address} did not answer in time.")
    if isinstance(error, socket.gaierror):
        return UnreachableError(f"{address} cannot be found: {error.strerror}.")
    if isinstance(error, HTTPException) or error.strerror is None:
        return UnreachableError(f"{address} ended the connection without an answer.")
    return UnreachableError(f"{address} does not answer: {error.strerror}.")
