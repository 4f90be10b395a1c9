"""Lets a request in or turns it away, before anything of its body is looked at."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from api.auth import AuthenticationError, AuthenticatorUnavailableError, Caller
from api.context import CALLER, SERVICES
from api.errors import RETRY_AFTER, ApiError
from api.validation import refuse_parameters
from db.tokens import Role
from messages.requests.base import Request


def guard(handler: Handler, allowed: frozenset[Role], query: type[Request] | None = None) -> Handler:
    """Return `handler` for callers who hold one of the allowed roles only.

    Args:
        handler: Answers a request.

        allowed: The roles.

        query: Takes every parameter that may be sent; None: any may be.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        caller = await _authenticate(request)
        request[CALLER] = caller
        require(caller, allowed)
        if query is not None:
            refuse_parameters(request, query)
        return await handler(request)

    return guarded


def require(caller: Caller, allowed: frozenset[Role]) -> None:
    """Do nothing for a caller with one of the roles.

    Raises:
        ApiError: 403 for anybody else.
    """
    if not caller.may(allowed):
        raise ApiError(HTTPStatus.FORBIDDEN)


async def _authenticate(request: web.Request) -> Caller:
    # X-Project-Id and X-User-Id come from the caller: who believes them lets anybody be anybody.
    token = request.headers.get("X-Auth-Token") or None
    try:
        return await request.app[SERVICES].authenticator.authenticate(token)
    except AuthenticationError as error:
        raise ApiError(HTTPStatus.UNAUTHORIZED, str(error)) from None
    except AuthenticatorUnavailableError:
        detail = "The identity service is not available."
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_AFTER) from None
