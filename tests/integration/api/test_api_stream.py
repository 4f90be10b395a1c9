"""The stream of events over HTTP: how it begins, what it tells, how it is resumed and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from api import events as stream_module
from api.stream import follower as follower_module
from api.stream import serving as serving_module
from db.schema import events, runs, steps, strategies
from db.tokens import TokenStore
from tests.support import api_rows
from tests.support.served_api import ServedApi
from tests.support.waiting import PATIENCE_S, wait_for

PATH = "/v1.0/events"
DEADLINE_S = PATIENCE_S


def happening(subject: str = "subcloud/a", kind: str = "subcloud.online", **data: Any) -> dict[str, Any]:
    """Return an event."""
    return {"type": kind, "subject": subject, "data": data, "at": api_rows.CREATED, "published": False}


class Stream:
    """What a listener reads."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> None:
        """Read the head."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)).decode()
        first, *lines = head.strip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    async def message(self) -> dict[str, str]:
        """Return the next message by the names of its lines; comments are skipped.

        Raises:
            asyncio.IncompleteReadError: The stream has ended.
        """
        while True:
            lines = await self._lines()
            if not all(line.startswith(":") for line in lines):
                return {name: value for name, _, value in (line.partition(": ") for line in lines)}

    async def comment(self) -> str:
        """Return the next message, which is a comment."""
        (line,) = await self._lines()
        return line

    async def _lines(self) -> list[str]:
        """Read to an empty line, through the chunks."""
        found: list[str] = []
        while True:
            line = (await asyncio.wait_for(self.reader.readuntil(b"\n"), DEADLINE_S)).decode()
            # The server writes whole messages in chunks; sizes of chunks stand alone on lines that end with CR.
            if line.endswith("\r\n"):
                continue
            if line == "\n":
                if found:
                    return found
                continue
            found.append(line.rstrip("\n"))

    async def ids(self, count: int) -> list[int]:
        """Return the numbers of the next messages."""
        return [int((await self.message())["id"]) for _ in range(count)]


@asynccontextmanager
async def listening(
    api: ServedApi, query: str = "", *, role: str = "reader", limit: int = 2**22, **headers: str
) -> AsyncIterator[Stream]:
    """Listen until the end of the block."""
    reader, writer = await asyncio.open_connection(api.host, api.port, limit=limit)
    lines = {
        "Host": "t",
        "Connection": "close",
        "X-Auth-Token": api.token(role),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET {PATH}{query} HTTP/1.1\r\n{head}\r\n".encode())
    stream = Stream(reader)
    try:
        await stream.begin()
        yield stream
    finally:
        writer.close()


def add_strategy(api: ServedApi) -> None:
    """Put a strategy with two steps and their sites into the database."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, api_rows.step(1, "a", strategy_id=1), api_rows.step(2, "b", strategy_id=1))


async def test_first_how_things_stand_then_what_happens(api: ServedApi) -> None:
    """A listener hears how things stand, numbered with the last event in it, and then every event as a CloudEvent."""
    add_strategy(api)
    api.insert(events, happening(), happening())
    async with listening(api) as stream:
        first = await stream.message()
        api.insert(events, happening("step/1", "step.prestage.prestage-precheck", strategy=1, subcloud="a", stage=1))
        second = await stream.message()

    snapshot, document = json.loads(first["data"]), json.loads(second["data"])
    assert (200, "text/event-stream; charset=utf-8", "no") == (
        stream.status,
        stream.headers["content-type"],
        stream.headers["x-accel-buffering"],
    )
    assert ("snapshot", "2", "begin") == (first["event"], first["id"], snapshot["reason"])
    assert (1, ["a", "b"]) == (snapshot["strategy"]["id"], [step["cloud"] for step in snapshot["steps"]])
    assert ("step.prestage.prestage-precheck", "3") == (second["event"], second["id"])
    assert ("1.0", "3", "step/1", "io.prestager.event.step.prestage.prestage-precheck") == tuple(
        document[key] for key in ("specversion", "id", "subject", "type")
    )
    assert {"strategy": 1, "subcloud": "a", "stage": 1} == document["data"]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_resumed_without_gap_and_repeat(api: ServedApi, how: str) -> None:
    """With the number of the last event the stream goes on right after it, also over what is told meanwhile."""
    api.insert(events, *(happening() for _ in range(1200)))
    given = {"Last_Event_ID": "7"} if how == "header" else {}
    async with listening(api, "" if how == "header" else "?last_event_id=7", **given) as stream:
        api.insert(events, *(happening() for _ in range(300)))
        assert list(range(8, 1501)) == await stream.ids(1493)


async def test_several_listeners_at_different_places(api: ServedApi) -> None:
    """Each listener hears what comes after his own last event, once."""
    api.insert(events, *(happening() for _ in range(20)))
    async with listening(api, "?last_event_id=20") as late, listening(api, "?last_event_id=5") as early:
        api.insert(events, *(happening() for _ in range(3)))
        async with listening(api, "?last_event_id=22") as latest:
            assert [21, 22, 23] == await late.ids(3)
            assert list(range(6, 24)) == await early.ids(18)
            assert [23] == await latest.ids(1)


async def test_what_is_no_longer_kept(api: ServedApi) -> None:
    """Who comes back too late, or with a number from elsewhere, hears how things stand and why."""
    api.insert(events, *(happening() for _ in range(5)))
    with api.database.write() as connection:
        connection.execute(delete(events).where(events.c.id <= 3))

    told = {}
    for last in ("1", "3", "9"):
        async with listening(api, f"?last_event_id={last}") as stream:
            told[last] = await stream.message()

    assert "is no longer kept" in json.loads(told["1"]["data"])["reason"]
    assert ("subcloud.online", "4") == (told["3"]["event"], told["3"]["id"])
    assert "is of another installation" in json.loads(told["9"]["data"])["reason"]


async def test_what_a_restored_database_does_not_know(api: ServedApi) -> None:
    """Who has seen an event from before a restore hears how things stand; who has seen the restore goes on."""
    jump = 1_795_000_000_000
    restored = {**happening(), "type": "database.restored", "subject": "installation/x", "data": {"newest_at": None}}
    api.insert(events, *(happening() for _ in range(5)))
    api.insert(events, {**restored, "id": jump}, {**happening(), "id": jump + 1})
    told = {}
    for last in (3, 9, jump):
        async with listening(api, f"?last_event_id={last}") as stream:
            told[last] = await stream.message()

    for last in (3, 9):
        assert f"the database was restored from a backup after event {last}" == json.loads(told[last]["data"])["reason"]
    assert ("subcloud.online", str(jump + 1)) == (told[jump]["event"], told[jump]["id"])


@pytest.mark.parametrize(
    ("query", "heard"),
    [
        ("?strategy=1", [1, 3, 4, 6]),
        ("?subcloud=a", [1, 2, 4, 6]),
        ("?type=step", [1, 4, 5]),
        ("?type=run.prestage", [6, 7]),
        ("?type=run&subcloud=b", [7]),
        ("?subcloud=a&type=step", [1, 4]),
    ],
)
async def test_filters(api: ServedApi, query: str, heard: list[int]) -> None:
    """A listener may want one strategy, one subcloud, or one kind of events, and hears nothing else."""
    async with listening(api, f"{query}") as stream:
        await stream.message()
        api.insert(
            events,
            happening("step/1", "step.prestage.complete", strategy=1, subcloud="a", stage=1),
            happening("subcloud/a"),
            happening("strategy/1", "strategy.prestage.failed"),
            happening("strategy/1", "step.prestage.aborted", steps=[{"step": 1, "subcloud": "a"}]),
            happening("step/9", "step.prestage.complete", strategy=2, subcloud="b", stage=1),
            happening("run/5", "run.prestage.prestaging-packages", strategy=1, step=1, subcloud="a", stage=1),
            happening("run/6", "run.prestage.prestaging-packages", strategy=2, step=9, subcloud="b", stage=1),
        )
        assert heard == await stream.ids(len(heard))


async def test_the_filter_of_the_snapshot(api: ServedApi) -> None:
    """How things stand is told of what is wanted."""
    add_strategy(api)
    async with listening(api, "?subcloud=b") as stream:
        snapshot = json.loads((await stream.message())["data"])
    async with listening(api, "?strategy=2") as stream:
        other = json.loads((await stream.message())["data"])

    assert ["b"] == [step["cloud"] for step in snapshot["steps"]]
    assert (None, []) == (other["strategy"], other["steps"])


async def test_a_brief_snapshot(api: ServedApi) -> None:
    """A brief snapshot has strategy and number; steps and subclouds are read elsewhere."""
    add_strategy(api)
    async with listening(api, "?brief=1") as stream:
        message = await stream.message()
    snapshot = json.loads(message["data"])

    assert message["id"]
    assert (1, [], []) == (snapshot["strategy"]["id"], snapshot["steps"], snapshot["subclouds"])


@pytest.mark.parametrize(
    ("query", "shown"), [("", [1, 2]), ("?subcloud=b", [2]), ("?strategy=1", [1, 2]), ("?strategy=2", [])]
)
async def test_runs_that_go_on_are_in_the_snapshot(api: ServedApi, query: str, shown: list[int]) -> None:
    """How things stand tells of what is wanted which runs go on, and how far they are, as their events do."""
    add_strategy(api)
    going_on = {"state": "running", "outcome": None, "consumed": False, "attempt": 2}
    api.insert(
        runs,
        api_rows.run(1, "prestaging-packages", step_id=1, progress={"task": "t", "tasks": 3}, **going_on),
        api_rows.run(2, "prestaging-images", step_id=2, progress=None, **going_on),
        api_rows.run(3, "prestaging-packages", step_id=2, progress={"task": "t"}),
    )
    async with listening(api, query) as stream:
        found = json.loads((await stream.message())["data"])["runs"]

    assert shown == [run["run"] for run in found]
    if shown == [1, 2]:
        about = {"run": 1, "strategy": 1, "step": 1, "subcloud": "a", "stage": 1}
        assert {**about, "phase": "prestaging-packages", "attempt": 2, "task": "t", "tasks": 3} == found[0]


async def test_silence_is_broken(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing happens a comment comes by and by."""
    monkeypatch.setattr(stream_module, "_HEARTBEAT_S", 0.05)
    async with listening(api) as stream:
        await stream.message()

        assert ": still here" == await stream.comment()


async def test_a_slow_listener_slows_nobody(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who takes nothing in is cut off in bounded time; the others hear everything meanwhile."""
    monkeypatch.setattr(follower_module, "_WAITING_BYTES", 400_000)
    monkeypatch.setattr(serving_module, "WRITE_S", 0.5)
    count = 100
    async with listening(api, limit=1024), listening(api) as quick:
        await quick.message()
        heard = []
        for _ in range(0, count, 5):
            api.insert(events, *(happening(details="x" * 60_000) for _ in range(5)))
            heard += await quick.ids(5)
        # Without a look at what he was sent, which would let his connection end by itself.
        await asyncio.to_thread(wait_for, lambda: api.connections == 1, 20.0)

    assert list(range(1, count + 1)) == heard


async def test_a_revoked_token_ends_it(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after its token was revoked a stream ends with the reason."""
    monkeypatch.setattr(stream_module, "TOKEN_S", 0.05)
    monkeypatch.setattr(stream_module, "_HEARTBEAT_S", 0.05)
    async with listening(api) as stream:
        await stream.message()
        TokenStore(api.database).revoke("reader")
        last = await stream.message()

        assert ("dropped", "the token is no longer valid") == (last["event"], json.loads(last["data"])["reason"])
        with pytest.raises(asyncio.IncompleteReadError):
            await stream.message()


async def test_what_cannot_be_asked(api: ServedApi) -> None:
    """A number that is none is refused before anything is told."""
    assert 400 == (await api.send("GET", f"{PATH}?last_event_id=x")).status


async def test_without_a_token(api: ServedApi) -> None:
    """Nobody listens without a token."""
    assert 401 == (await api.send("GET", PATH, role=None)).status


async def test_nobody_listens_nothing_is_asked(api: ServedApi) -> None:
    """When the last listener has gone the database is left alone, and the next one begins anew."""
    async with listening(api) as stream:
        await stream.message()
    api.insert(events, happening(), happening())
    async with listening(api) as stream:
        assert "2" == (await stream.message())["id"]
        api.insert(events, {**happening(), "at": api_rows.CREATED + timedelta(seconds=1)})
        assert [3] == await stream.ids(1)
