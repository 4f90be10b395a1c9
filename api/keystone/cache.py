"""Remembers for a while which tokens Keystone found good. Never holds a token, only digests; never a refusal."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from api.auth import Caller
from api.keystone.answers import ValidToken

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
