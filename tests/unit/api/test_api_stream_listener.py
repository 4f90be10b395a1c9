"""A listener: what waits for him, in which order, and when it becomes too much."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, Mock

import pytest

from api.stream import follower as follower_module
from api.stream import serving as serving_module
from api.stream.follower import EventListener, Filter, Frame
from api.stream.serving import CHUNK_BYTES, send, serve


def frames(*ids: int, kind: str = "step.prestage.complete") -> list[Frame]:
    """Return events with a byte of content each."""
    return [Frame(id=one, type=kind, strategy_id=1, subclouds=frozenset({"a"}), content=b"%d;" % one) for one in ids]


def hand(listener: EventListener, *ids: int) -> None:
    """Hand events on as the follower does."""
    found = frames(*ids)
    listener.enqueue(found, b"".join(one.content for one in found))


async def test_each_event_once_and_in_order() -> None:
    """What was handed before is not handed again, and what was missed comes before what waits."""
    listener = EventListener(Filter(), seen=2)
    hand(listener, 1, 2, 3, 4)
    hand(listener, 3, 4)
    hand(listener, 4, 5)
    listener.prepend(frames(1, 2))

    assert b"1;2;3;4;5;" == await listener.take(1)
    assert b"" == await listener.take(0.01)


async def test_what_is_not_wanted_counts_as_seen() -> None:
    """An event that the filter leaves out is passed over for good."""
    listener = EventListener(Filter(subcloud="b"), seen=0)
    hand(listener, 1, 2)

    assert (2, b"") == (listener.seen, await listener.take(0.01))


async def test_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """When more waits than is kept the listener's stream ends with that reason, and nothing is kept for him."""
    monkeypatch.setattr(follower_module, "_WAITING_BYTES", 5)
    listener = EventListener(Filter(), seen=0)
    hand(listener, 1, 2)
    before = listener.ended
    hand(listener, 3)
    hand(listener, 4)

    assert (None, b"") == (before, await listener.take(1))
    assert "too slow" in str(listener.ended)


async def test_the_first_reason_counts() -> None:
    """Why a stream ended is said once."""
    listener = EventListener(Filter(), seen=0)
    listener.end("one")
    listener.end("two")

    assert "one" == listener.ended


async def test_much_at_once() -> None:
    """However much is to be told at once, a listener has the same time for each piece of it."""
    response = AsyncMock()
    await send(response, b"x" * (2 * CHUNK_BYTES + 1))

    assert [CHUNK_BYTES, CHUNK_BYTES, 1] == [len(call.args[0]) for call in response.write.await_args_list]


@pytest.mark.parametrize("what", ["write", "write_eof"])
async def test_who_takes_nothing_in(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """One who takes nothing in is cut off, whether there is more to tell or that was all."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(serving_module, "WRITE_S", 0.01)
    request, response = Mock(), AsyncMock()
    getattr(response, what).side_effect = hang
    was_there = await serve(request, response, send(response, b"x"))

    assert not was_there
    request.transport.abort.assert_called_once_with()
