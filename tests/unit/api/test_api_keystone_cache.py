"""What is remembered of Keystone's answers, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.auth import Caller
from api.keystone.authenticator import ValidationCache
from api.keystone.identity import ValidToken

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Clocks:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.monotonic = 100.0
        self.now = START


def cache(clocks: Clocks, keep_s: float = 60.0, size: int = 3) -> ValidationCache:
    return ValidationCache(keep_s, size, lambda: clocks.monotonic, lambda: clocks.now)


def token(name: str = "a", life_s: float = 3600.0) -> ValidToken:
    caller = Caller(name=name, roles=frozenset({"admin"}), project="admin")
    return ValidToken(caller=caller, expires_at=START + timedelta(seconds=life_s))


def test_fresh_answers_count() -> None:
    """An answer counts until it is too old, measured from the question."""
    clocks = Clocks()
    known = cache(clocks)
    known.put(b"a", token(), asked_at=90.0)

    clocks.monotonic = 149.9
    assert "a" == getattr(known.get(b"a"), "name", None)
    clocks.monotonic = 150.0
    assert known.get(b"a") is None
    assert 0 == len(known)


@pytest.mark.parametrize("later_s", [10.0, 11.0, 100000.0])
def test_expiry_counts_first(later_s: float) -> None:
    """A token that has expired is not believed, however fresh the answer."""
    clocks = Clocks()
    known = cache(clocks)
    known.put(b"a", token(life_s=10.0), asked_at=100.0)

    clocks.now = START + timedelta(seconds=later_s)

    assert known.get(b"a") is None


def test_a_clock_that_is_set_back_prolongs_nothing() -> None:
    """The clock of the day may go back; the age of an answer does not."""
    clocks = Clocks()
    known = cache(clocks)
    known.put(b"a", token(), asked_at=100.0)

    clocks.now, clocks.monotonic = START - timedelta(days=1), 161.0

    assert known.get(b"a") is None


def test_size_is_bounded() -> None:
    """Who was not seen for the longest time is forgotten first."""
    known = cache(Clocks(), size=2)
    known.put(b"a", token("a"), asked_at=100.0)
    known.put(b"b", token("b"), asked_at=100.0)
    known.get(b"a")
    known.put(b"c", token("c"), asked_at=100.0)

    assert [True, False, True] == [known.get(digest) is not None for digest in (b"a", b"b", b"c")]


def test_no_time_keeps_nothing() -> None:
    """With 0 seconds each request asks."""
    known = cache(Clocks(), keep_s=0.0)
    known.put(b"a", token(), asked_at=100.0)

    assert known.get(b"a") is None
