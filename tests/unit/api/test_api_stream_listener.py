"""A listener: what waits for him, in which order, and when it becomes too much."""

from __future__ import annotations

import pytest

from api.stream import follower as follower_module
from api.stream.follower import Listener
from api.stream.frames import Filter, Frame


def frames(*ids: int, kind: str = "step.prestage.complete") -> list[Frame]:
    """Return events with a byte of content each."""
    return [Frame(id=one, type=kind, strategy_id=1, subclouds=frozenset({"a"}), content=b"%d;" % one) for one in ids]


def hand(listener: Listener, *ids: int) -> None:
    """Hand events on as the follower does."""
    found = frames(*ids)
    listener.hand(found, b"".join(one.content for one in found))


async def test_each_event_once_and_in_order() -> None:
    """What was handed before is not handed again, and what was missed comes before what waits."""
    listener = Listener(Filter(), seen=2)
    hand(listener, 1, 2, 3, 4)
    hand(listener, 3, 4)
    hand(listener, 4, 5)
    listener.prepend(frames(1, 2))

    assert b"1;2;3;4;5;" == await listener.take(1)
    assert b"" == await listener.take(0.01)


async def test_what_is_not_wanted_counts_as_seen() -> None:
    """An event that the filter leaves out is passed over for good."""
    listener = Listener(Filter(subcloud="b"), seen=0)
    hand(listener, 1, 2)

    assert (2, b"") == (listener.seen, await listener.take(0.01))


async def test_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """When more waits than is kept the listener's stream ends with that reason, and nothing is kept for him."""
    monkeypatch.setattr(follower_module, "_WAITING_BYTES", 5)
    listener = Listener(Filter(), seen=0)
    hand(listener, 1, 2)
    before = listener.ended
    hand(listener, 3)
    hand(listener, 4)

    assert (None, b"") == (before, await listener.take(1))
    assert "too slow" in str(listener.ended)


async def test_the_first_reason_counts() -> None:
    """Why a stream ended is said once."""
    listener = Listener(Filter(), seen=0)
    listener.end("one")
    listener.end("two")

    assert "one" == listener.ended
