"""Authentication of callers and their roles (contract 2.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final, Protocol

from api.database_reader import DATABASE_TIMEOUT_S
from api.errors import ApiError, AuthenticatorUnavailableError, InvalidTokenError, MissingTokenError
from db.tokens import Role, Token, TokenStore, token_digest

# Reads of tokens at once.
_THREADS: Final = 4
_MOST_PENDING: Final = 256
_PROJECTS: Final = frozenset({"admin", "services"})

# Sets of roles, any of which is enough. Keystone implies reader for admin; a token has one role only.
READ: Final = frozenset({Role.READER, Role.OPERATOR, Role.CONFIGURATOR, Role.ADMIN})
CHANGE: Final = frozenset({Role.ADMIN, Role.CONFIGURATOR})
ADMIN: Final = frozenset({Role.ADMIN})
MANAGE: Final = frozenset({Role.ADMIN, Role.CONFIGURATOR, Role.OPERATOR})


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A caller with a valid token."""

    # Unique among all callers of the authenticator.
    name: str
    roles: frozenset[str]
    # None: the token belongs to no project.
    project: str | None

    def may(self, allowed: frozenset[Role]) -> bool:
        """Return whether the caller holds one of the allowed roles, in a project that may use this service."""
        return self.project in _PROJECTS and not self.roles.isdisjoint(allowed)


def require_role(caller: Caller, allowed: frozenset[Role]) -> None:
    """Check that a caller has one of the roles.

    Raises:
        ApiError: 403 for any other caller.
    """
    if not caller.may(allowed):
        raise ApiError(HTTPStatus.FORBIDDEN)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Name and password of a user of Keystone; `domain` None: that of the service's own user."""

    username: str
    password: str = field(repr=False)
    project: str
    domain: str | None = None


@dataclass(frozen=True, kw_only=True)
class Login:
    """A caller who has logged in at the page.

    Attributes:
        caller: The caller.

        identity: Text by which `Authenticator.resume` knows the caller again; a session keeps it sealed.

        expires_at: When the token ends; None: it does not.
    """

    caller: Caller
    identity: str = field(repr=False)
    expires_at: datetime | None = None


class Authenticator(Protocol):
    """Identifies callers by their tokens.

    Attributes:
        has_users: Whether people log in by name and password, too.
    """

    has_users: bool

    @property
    def checks(self) -> Mapping[str, Callable[[], Awaitable[str | None]]]:
        """Checks for readiness by name; each returns a reason, None without one."""

    async def authenticate(self, token: str | None) -> Caller:
        """Return the caller.

        Raises:
            MissingTokenError: There is no token.
            InvalidTokenError: The token is unknown, expired or revoked.
            AuthenticatorUnavailableError: The token cannot be validated at the moment.
        """

    async def resume(self, identity: str) -> Caller:
        """Return the caller of a session, as `authenticate` does.

        Args:
            identity: That of the login.
        """

    async def log_in(self, account: Credentials) -> Login:
        """Return a new login of a user.

        Raises:
            ApiError: 400: there are no users here, only tokens.
            InvalidTokenError: The name or the password is wrong.
            AuthenticatorUnavailableError: They cannot be judged at the moment.
        """

    async def log_in_by_token(self, token: str) -> Login:
        """Return the login of a token; raises as `authenticate` does."""

    def close(self) -> None:
        """Release threads and connections. A repeat does nothing."""


class TokenAuthenticator:
    """Identifies callers by the tokens of this installation.

    Each request costs one indexed read in a thread; nothing is cached, so a revoked token ends at once. The threads are
    its own, so that no other query delays authentication.

    Args:
        store: Tokens in the database.

        timeout_s: How long to wait for the database, in seconds.
    """

    has_users = False

    def __init__(self, store: TokenStore, timeout_s: float = DATABASE_TIMEOUT_S) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="token")
        # Queries that run or wait for a thread.
        self._pending = 0
        self.checks: Mapping[str, Callable[[], Awaitable[str | None]]] = {}

    async def authenticate(self, token: str | None) -> Caller:
        """Return the caller; token callers count as project `admin`."""
        if not token:
            raise MissingTokenError
        return await self._known(self._store.authenticate, token)

    async def resume(self, identity: str) -> Caller:
        """Return the caller; the identity is the digest of the token, which is asked for at each request."""
        return await self._known(self._store.find, identity)

    async def log_in(self, account: Credentials) -> Login:
        """Refuse: there are no users here."""
        del account
        raise ApiError(HTTPStatus.BAD_REQUEST, "There are no users here: log in with a token (prestager token create).")

    async def log_in_by_token(self, token: str) -> Login:
        """Return the login of a token, which lasts until it is revoked."""
        return Login(caller=await self.authenticate(token), identity=token_digest(token))

    async def _known(self, find: Callable[[str], Token | None], text: str) -> Caller:
        try:
            async with asyncio.timeout(self._timeout_s):
                known = await self._ask(find, text)
        except TimeoutError:
            raise AuthenticatorUnavailableError from None
        if known is None:
            raise InvalidTokenError
        return Caller(name=known.name, roles=frozenset({known.role}), project="admin")

    def close(self) -> None:
        """Take no more tokens; queries that wait for the database end by themselves. A repeat does nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, find: Callable[[str], Token | None], text: str) -> Token | None:
        if self._pending >= _MOST_PENDING:
            # More of them would only wait until they are too late.
            raise AuthenticatorUnavailableError
        asked = asyncio.get_running_loop().run_in_executor(self._threads, find, text)
        self._pending += 1
        asked.add_done_callback(self._answered)
        # A query that timed out goes on in its thread, and counts until it ends.
        return await asyncio.shield(asked)

    def _answered(self, asked: asyncio.Future[Token | None]) -> None:
        self._pending -= 1
        # It may fail after its caller has gone.
        _ = asked.cancelled() or asked.exception()
