"""Errors of the API: those that are answered to a caller, and those of its connections, tokens and certificate."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from statemachine.errors import PrestagerError

MALFORMED: Final = "Request body is malformed."
BODY_REQUIRED: Final = "Body required"
# How long a client should wait when the database or the broker is away, in seconds.
RETRY_AFTER: Final = {"Retry-After": "5"}


class ApiError(PrestagerError):
    """A request is answered with an error.

    Attributes:
        status: The HTTP status.

        detail: Text for the caller: it holds no secret and nothing of the inside. Empty: the text of the status alone.

        headers: Headers of the response, beside those of every error.
    """

    def __init__(self, status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class AuthenticationError(PrestagerError):
    """The caller is not known; the message is the detail of the response."""


class MissingTokenError(AuthenticationError):
    """The request has no token."""

    def __init__(self) -> None:
        super().__init__("Failed to validate access token: Authentication required")


class InvalidTokenError(AuthenticationError):
    """The token is unknown, expired or revoked. Upstream repeats it in the message; this program does not."""

    def __init__(self) -> None:
        super().__init__("Failed to validate access token: Auth token is invalid")


class WrongPasswordError(AuthenticationError):
    """Keystone does not know the user, or the password or the project is wrong; it does not say which."""

    def __init__(self) -> None:
        super().__init__("Keystone does not let you in: user, password or project is wrong.")


class SessionEndedError(AuthenticationError):
    """The session has ended, or was not begun here."""

    def __init__(self) -> None:
        super().__init__("Your session has ended. Log in again.")


class AuthenticatorUnavailableError(PrestagerError):
    """Tokens cannot be validated at the moment; says nothing about the token."""


class KeystoneUnavailableError(AuthenticatorUnavailableError):
    """Keystone cannot validate a token; the message says why, without a secret or an address."""


class BootstrapValuesError(PrestagerError):
    """A file of bootstrap values cannot be read; the message says why and where, and repeats nothing of the content."""


class TooManyConnectionsError(PrestagerError):
    """A connection is one too many; the message says of which callers."""


class CertificateError(PrestagerError):
    """The server's certificate and its key cannot be used; the message says why, and holds nothing of the key."""


def malformed() -> ApiError:
    """Return the error of a body that cannot be read."""
    return ApiError(HTTPStatus.BAD_REQUEST, MALFORMED)


def body_required() -> ApiError:
    """Return the error of an empty body."""
    return ApiError(HTTPStatus.BAD_REQUEST, BODY_REQUIRED)
