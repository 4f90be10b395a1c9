"""Authentication of callers by tokens of Keystone (contract 2.2, 12)."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import Final, Protocol, TypeVar

import structlog

from api.auth import Caller, Credentials, Login
from api.errors import (
    AuthenticatorUnavailableError,
    InvalidTokenError,
    KeystoneUnavailableError,
    MissingTokenError,
    WrongPasswordError,
)
from api.keystone.identity import ValidToken

# Tokens at once; about 1 KiB each.
_SIZE: Final = 10_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    caller: Caller
    # On the monotonic clock, in seconds.
    fresh_until: float
    expires_at: datetime


class ValidationCache:
    """Callers by the digest of their token; the one that was not used for the longest time goes first.

    Args:
        keep_s: How long an answer counts, in seconds from when it was asked for: how long at most a token lives on
            that was revoked. 0: nothing is kept.
        size: Most entries.
        clock: Monotonic time, in seconds.
        now: The time of the day, in UTC.
    """

    def __init__(
        self,
        keep_s: float,
        size: int = _SIZE,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._keep_s = keep_s
        self._size = size
        self._clock = clock
        self._now = now
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """Return how many tokens are remembered."""
        return len(self._entries)

    def get(self, digest: bytes) -> Caller | None:
        """Return the caller, unless the answer is too old or the token has expired."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        # Both clocks: that of the day may be set, the other knows nothing of `expires_at`.
        if self._clock() >= entry.fresh_until or self._now() >= entry.expires_at:
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return entry.caller

    def put(self, digest: bytes, token: ValidToken, asked_at: float) -> None:
        """Remember an answer that was asked for at `asked_at`, monotonic."""
        self._entries[digest] = _Entry(
            caller=token.caller, fresh_until=asked_at + self._keep_s, expires_at=token.expires_at
        )
        self._entries.move_to_end(digest)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)


_log = structlog.get_logger(__name__)

_T = TypeVar("_T")

# Form of every token of Keystone; a text of another form is not sent to Keystone, nor fit for a header.
_FORM: Final = re.compile(r"[\x21-\x7e]{1,8000}")
# Questions at once; Keystone takes about 10 ms for one.
_THREADS: Final = 8
# Questions that run or wait for a thread; more would only wait until they are too late.
_MOST_PENDING: Final = 256
# How long the result of a readiness check counts, in seconds: the route is public and may be called at any rate.
_CHECK_COUNTS_S: Final = 5.0


class TokenValidator(Protocol):
    """Asks Keystone; blocks, and is called from several threads."""

    def validate(self, token: str) -> ValidToken | None:
        """Return what is known of a token; None: it is not valid.

        Raises:
            KeystoneUnavailableError: Keystone cannot tell.
        """

    def log_in(self, account: Credentials) -> str | None:
        """Return a new token of a user; None: the name, the password or the project is wrong.

        Raises:
            KeystoneUnavailableError: Keystone cannot tell.
        """

    def check(self) -> object:
        """Return, whatever, when tokens can be validated.

        Raises:
            KeystoneUnavailableError: They cannot.
        """

    def close(self) -> None:
        """Close what is idle."""


class KeystoneAuthenticator:
    """Identifies callers by tokens that Keystone validates.

    Args:
        validator: Validates tokens at Keystone.
        timeout_s: How long a caller waits for Keystone, in seconds.
        cache_s: How long an answer counts, in seconds; a revoked token works no longer than that.
    """

    has_users = True

    def __init__(self, validator: TokenValidator, *, timeout_s: float, cache_s: float) -> None:
        self._validator = validator
        self._timeout_s = timeout_s
        self._cache = ValidationCache(cache_s)
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="keystone")
        # By digest: concurrent requests with the same token share one validation.
        self._pending: dict[bytes, asyncio.Future[ValidToken | None]] = {}
        # Last reason why Keystone could not be used; None: it can.
        self._last_reason: str | None = None
        self._checking = asyncio.Lock()
        self._checked_until = float("-inf")
        # Without Keystone the API serves only the callers that it remembers.
        self.checks = {"keystone": self.unavailable_reason}

    async def authenticate(self, token: str | None) -> Caller:
        """Return the caller; concurrent requests with one token cost one validation."""
        if not token:
            raise MissingTokenError
        if not _FORM.fullmatch(token):
            raise InvalidTokenError
        digest = sha256(token.encode()).digest()
        return self._cache.get(digest) or (await self._ask(digest, token)).caller

    async def resume(self, identity: str) -> Caller:
        """Return the caller; the identity is the token itself, which the session keeps sealed."""
        return await self.authenticate(identity)

    async def log_in(self, account: Credentials) -> Login:
        """Return a new login of a user of Keystone, until the end of its token."""
        try:
            async with asyncio.timeout(self._timeout_s):
                token = await asyncio.shield(self._start(partial(self._validator.log_in, account)))
        except TimeoutError:
            raise AuthenticatorUnavailableError from None
        if token is None:
            raise WrongPasswordError
        return await self.log_in_by_token(token)

    async def log_in_by_token(self, token: str) -> Login:
        """Return the login of a token of Keystone, until the end of the token."""
        if not _FORM.fullmatch(token):
            raise InvalidTokenError
        known = await self._ask(sha256(token.encode()).digest(), token)
        return Login(caller=known.caller, identity=token, expires_at=known.expires_at)

    async def unavailable_reason(self) -> str | None:
        """Return why tokens cannot be validated at the moment, None when they can; asked every few seconds at most."""
        async with self._checking:
            if monotonic() >= self._checked_until:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await asyncio.shield(self._start(self._validator.check))
                except TimeoutError:
                    self._note("Keystone does not answer in time")
                except KeystoneUnavailableError as error:
                    self._note(str(error))
                else:
                    self._note(None)
                self._checked_until = monotonic() + _CHECK_COUNTS_S
            return self._last_reason

    def close(self) -> None:
        """Validate no more tokens; validations that run end by themselves. A repeat does nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._validator.close()

    async def _ask(self, digest: bytes, token: str) -> ValidToken:
        question = self._pending.get(digest) or self._question(digest, token)
        try:
            async with asyncio.timeout(self._timeout_s):
                # A caller that hangs up must not cancel the validation that others wait for.
                known = await asyncio.shield(question)
        except TimeoutError:
            self._note("Keystone does not answer in time")
            raise AuthenticatorUnavailableError from None
        except KeystoneUnavailableError as error:
            self._note(str(error))
            raise
        self._note(None)
        if known is None:
            raise InvalidTokenError
        return known

    def _question(self, digest: bytes, token: str) -> asyncio.Future[ValidToken | None]:
        if len(self._pending) >= _MOST_PENDING:
            raise AuthenticatorUnavailableError
        question = self._start(partial(self._validator.validate, token))
        self._pending[digest] = question
        # Added before any waiter, so that the cache has the answer when the first of them goes on.
        question.add_done_callback(partial(self._answered, digest, monotonic()))
        return question

    def _start(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        too_late = monotonic() + self._timeout_s
        started = asyncio.get_running_loop().run_in_executor(self._threads, partial(_unless_late, work, too_late))
        # It may fail after its callers have gone.
        started.add_done_callback(lambda done: done.cancelled() or done.exception())
        return started

    def _answered(self, digest: bytes, asked_at: float, question: asyncio.Future[ValidToken | None]) -> None:
        del self._pending[digest]
        if question.cancelled() or question.exception() is not None:
            return
        known = question.result()
        if known is not None:
            self._cache.put(digest, known, asked_at)

    def _note(self, fault: str | None) -> None:
        """Log a change of the state of Keystone: once when it goes away, not with each request."""
        if fault == self._last_reason:
            return
        self._last_reason = fault
        if fault is None:
            _log.info("keystone.back")
        else:
            _log.error("keystone.away", reason=fault, advice="Nobody new can use the API; see: prestager doctor")


def _unless_late(work: Callable[[], _T], too_late: float) -> _T:
    """Do the work unless its time has passed, so that Keystone gets no outdated requests when it is back."""
    if monotonic() >= too_late:
        raise KeystoneUnavailableError("Keystone does not answer in time")
    return work()
